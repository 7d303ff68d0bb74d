"""Between an event and the JSON that the log keeps of it."""

from typing import Any

import msgspec

from eventstore.domain.events import EVENT_TYPES, Event, UnknownEvent

#: The version of payloads that are written now. A payload that does not say its version has this one.
PAYLOAD_VERSION = 2

_DECODERS = {name: msgspec.json.Decoder(cls) for name, cls in EVENT_TYPES.items()}
_generic: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class _AmountShape(msgspec.Struct):
    """Tells a string from a number, which a decoder of Decimal does not."""

    amount: str | msgspec.UnsetType = msgspec.UNSET


_amount_shape = msgspec.json.Decoder(_AmountShape)


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


def decode(event_type: str, data: str | bytes) -> Event | UnknownEvent:
    """The event that ``data``, a payload from the log, stands for."""
    decoder = _DECODERS.get(event_type)
    if decoder is None:
        return UnknownEvent(event_type, _generic.decode(data))
    return decoder.decode(data)


def check(event_type: str, data: bytes) -> None:
    """Raise PayloadError unless ``data`` is a payload of the known event type ``event_type``."""
    decoder = _DECODERS.get(event_type)
    if decoder is None:
        raise PayloadError(f"unknown event type {event_type!r}; known: {', '.join(EVENT_TYPES)}")
    try:
        _amount_shape.decode(data)
        decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
        raise PayloadError(f"{event_type}: {error}") from None
