"""Between an event and the JSON that the log keeps of it."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import msgspec

from eventstore.domain.events import EVENT_TYPES, Event, UnknownEvent
from eventstore.domain.shown import shown
from eventstore.domain.upcasters import PAYLOAD_VERSION, UNMARKED_VERSION, upcast

_DECODERS = {name: msgspec.json.Decoder(cls) for name, cls in EVENT_TYPES.items()}
_generic: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])

#: The one form of an amount that the log takes, in at most 20 characters.
_AMOUNT = re.compile(r"(?!.{21})-?[0-9]{1,8}(\.[0-9]{1,2}0*)?")


_VERSION = re.compile("[0-9]{1,9}", re.ASCII)

P = ParamSpec("P")
T = TypeVar("T")


class PayloadError(ValueError):
    """A payload that does not fit its event type; the message says where and why."""


def encode(event: Event) -> dict[str, Any]:
    """The payload of ``event`` as plain JSON values, amounts as decimal strings.

    Raises PayloadError where a field of the event has a wrong type or value.
    """
    try:
        payload: dict[str, Any] = msgspec.to_builtins(event)
        msgspec.convert(payload, type(event))
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise PayloadError(f"{event.type_name()}: {error}") from None
    return payload


def with_room(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call; where the stack is too short for a deeply nested value, again on a stack of its own. So what can
    be decoded depends on the value alone, not on who asks.
    """
    try:
        return function(*arguments, **named)
    except RecursionError:
        with ThreadPoolExecutor(1) as stack:
            return stack.submit(function, *arguments, **named).result()


def payload_version(said: object) -> int:
    """The version that metadata, or its text, says a payload has. Raises ValueError where that is none."""
    if said is None:
        return UNMARKED_VERSION
    if not _VERSION.fullmatch(str(said)):
        raise ValueError(f"schema_version {str(said)[:40]!r} is no version: versions are 1, 2, 3 …")
    return int(str(said))


def decode(
    event_type: str, data: msgspec.Raw | bytes, version: int = UNMARKED_VERSION
) -> Event | UnknownEvent:
    """The event that ``data``, a payload of ``version`` from the log, stands for.

    A type or a payload version that this code does not know yet is an UnknownEvent, never an error.
    """
    decoder = _DECODERS.get(event_type)
    if decoder is None or version > PAYLOAD_VERSION:
        return UnknownEvent(event_type, _generic.decode(data), version)
    if version == PAYLOAD_VERSION:
        return decoder.decode(data)
    payload = upcast(event_type, _generic.decode(data), version)
    return msgspec.convert(payload, EVENT_TYPES[event_type])


def check(event_type: str, data: bytes, version: int = UNMARKED_VERSION) -> None:
    """Raise PayloadError unless ``data`` is a payload, of ``version``, of the known type ``event_type``.

    At least as strict as the constraints of the log.
    """
    cls = EVENT_TYPES.get(event_type)
    if cls is None:
        raise PayloadError(f"unknown event type {shown(event_type)}; known: {', '.join(EVENT_TYPES)}")
    try:
        payload = _generic.decode(data)  # all of it: a decoder of the class would skip what it does not know
        if "amount" in payload:
            _check_amount(payload["amount"], version)
        msgspec.convert(payload if version == PAYLOAD_VERSION else upcast(event_type, payload, version), cls)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
        raise PayloadError(f"{event_type}: {error}") from None


def _check_amount(amount: object, version: int) -> None:
    """As the log's event_is_valid(), whatever the event type."""
    if version == 1:
        if not isinstance(amount, int) or isinstance(amount, bool) or abs(amount) >= 10**10:
            raise ValueError(
                f"amount of version 1 must be whole cents such as 1250, found {shown(amount)} - at `$.amount`"
            )
    elif not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise ValueError(
            f'amount must be a string such as "12.50" that fits DECIMAL(10,2) exactly, found '
            f"{shown(amount)} - at `$.amount`"
        )
