"""Between the events of a domain and the JSON that the log keeps of them."""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal, Union
from uuid import UUID

import msgspec

from eventstore.kernel import recorded
from eventstore.kernel.events import Event, UnknownEvent, versioned
from eventstore.kernel.recorded import FoldEvent, RecordedEvent, UndecodedEvent
from eventstore.kernel.room import with_room
from eventstore.kernel.shown import shown

Payload = dict[str, Any]
#: Takes the type and a payload of one version, gives the payload in the form of the next version.
Upcaster = Callable[[str, Payload], Payload]

#: The version of a payload that does not say its own. It stays 2 when newer versions come.
UNMARKED_VERSION = 2

_VERSION = re.compile("[0-9]{1,9}", re.ASCII)
_generic: msgspec.json.Decoder[Payload] = msgspec.json.Decoder(Payload)


class PayloadError(ValueError):
    """A payload that does not fit its event type; the message says where and why."""


class Codec:
    """The event types of a domain, in all versions of their payloads.

    Old payloads are converted when they are read, never rewritten: each goes through the ``upcasters`` from
    its own version, 1 or higher, to the one that is written now. ``check_payload`` raises ValueError for a
    payload of a version that the log would refuse whatever its type.
    """

    def __init__(
        self,
        types: Iterable[type[Event]],
        upcasters: Mapping[int, Upcaster] = {},
        check_payload: Callable[[Payload, int], None] = lambda _payload, _version: None,
    ) -> None:
        self.types = {cls.type_name(): cls for cls in types}
        self._upcasters = dict(upcasters)
        self._check_payload = check_payload
        self._decoders = {name: msgspec.json.Decoder(cls) for name, cls in self.types.items()}
        #: The version of payloads that are written now.
        self.payload_version = max(upcasters, default=UNMARKED_VERSION - 1) + 1
        #: The classes of events as this domain reads them: their ``event`` is one of its types.
        self.fold_event, self.recorded_event = _classes(self)

    def fold_events(self, lines: Iterable[str]) -> list[FoldEvent]:
        """The events that ``lines`` hold, each the JSON array of an UndecodedEvent.

        Where all are of known types and of the version that is written now, their payloads are decoded in
        passing. Else what is wrong with one is for whoever asks for it to find out. Raises MsgspecError,
        ValueError or RecursionError where not even the rest of an event can be read.
        """
        text = f"[{','.join(lines)}]"
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            return self._decoded_events.decode(text)
        return self._undecoded_events.decode(text)

    @cached_property
    def _undecoded_events(self) -> msgspec.json.Decoder[list[FoldEvent]]:
        return msgspec.json.Decoder(list[self.fold_event])  # type: ignore[name-defined]

    @cached_property
    def _decoded_events(self) -> msgspec.json.Decoder[list[FoldEvent]]:
        """Of the union of all types, told apart by their names."""
        if not self.types:
            return self._undecoded_events
        now = str(self.payload_version)
        said = Literal[None, now] if self.payload_version == UNMARKED_VERSION else Literal[now]
        classes = [_decoded_class(name, cls, said) for name, cls in self.types.items()]
        return msgspec.json.Decoder(list[Union[tuple(classes)]])  # type: ignore[misc]  # noqa: UP007

    @property
    def mark(self) -> dict[str, int]:
        """What metadata says of a payload that is written now: its version, unless that goes unmarked."""
        is_unmarked = self.payload_version == UNMARKED_VERSION
        return {} if is_unmarked else {"schema_version": self.payload_version}

    def encode(self, event: Event) -> Payload:
        """The payload of ``event`` as plain JSON values, amounts as decimal strings.

        Raises PayloadError where a field of the event has a wrong type or value.
        """
        try:
            payload: Payload = msgspec.to_builtins(event)
            msgspec.convert(payload, type(event))
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise PayloadError(f"{event.type_name()}: {error}") from None
        return payload

    def decode(
        self, event_type: str, data: msgspec.Raw | bytes, version: int = UNMARKED_VERSION
    ) -> Event | UnknownEvent:
        """The event that ``data``, a payload of ``version`` from the log, stands for.

        A type or a payload version that this code does not know yet is an UnknownEvent, never an error.
        """
        decoder = self._decoders.get(event_type)
        if decoder is None or version > self.payload_version:
            return UnknownEvent(event_type, _generic.decode(data), version, decoder is not None)
        if version == self.payload_version:
            return decoder.decode(data)
        payload = self.upcast(event_type, _generic.decode(data), version)
        return msgspec.convert(payload, self.types[event_type])

    def decode_marked(self, event_type: str, data: msgspec.Raw | bytes, said: object) -> Event | UnknownEvent:
        """`decode` a payload of the version that metadata, or its text, says; however deep it is."""
        version = UNMARKED_VERSION if said is None else payload_version(said)
        try:
            return self.decode(event_type, data, version)
        except RecursionError:
            return with_room(self.decode, event_type, data, version)

    def check(self, event_type: str, data: bytes, version: int = UNMARKED_VERSION) -> None:
        """Raise PayloadError unless ``data`` is a payload, of ``version``, of the known type ``event_type``.

        At least as strict as the constraints of the log.
        """
        cls = self.types.get(event_type)
        if cls is None:
            raise PayloadError(f"unknown event type {shown(event_type)}; known: {', '.join(self.types)}")
        try:
            payload = _generic.decode(data)  # all of it: a decoder of the class skips what it does not know
            self._check_payload(payload, version)
            current = version == self.payload_version
            msgspec.convert(payload if current else self.upcast(event_type, payload, version), cls)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, ValueError) as error:
            raise PayloadError(f"{event_type}: {error}") from None

    def upcast(self, event_type: str, payload: Payload, version: int) -> Payload:
        """``payload`` of ``version`` in the form that is written now.

        Raises ValueError for a version that this code does not know.
        """
        if not 1 <= version <= self.payload_version:
            raise ValueError(
                f"{event_type} has a payload of version {version}, this code knows versions 1 to "
                f"{self.payload_version}: upgrade it"
            )
        for step in range(version, self.payload_version):
            payload = self._upcasters[step](event_type, payload)
        return payload

    def knows(self, name: str, handled: Mapping[type, object]) -> bool:
        """Whether an event that a state lists as unknown, by its name, is of a type that is ``handled``."""
        event_type, version = versioned(name) or (name, UNMARKED_VERSION)
        return self.types.get(event_type) in handled and version <= self.payload_version


def _decoded_class(name: str, cls: type[Event], payload_version: object) -> type[msgspec.Struct]:
    """A class of FoldEvents whose payload is of this type; their JSON is that of an UndecodedEvent."""
    fields: list[tuple[str, Any]] = [("id", UUID), ("order_id", UUID), ("version", int), ("created_at", int)]
    return msgspec.defstruct(
        f"Decoded{name}",
        [*fields, ("payload_version", payload_version), ("event", cls)],
        namespace={"event_type": name},
        tag=name,
        array_like=True,
        frozen=True,
        gc=False,
    )


def _classes(codec: Codec) -> tuple[type[UndecodedEvent], type[RecordedEvent]]:
    """Subclasses whose events are decoded by ``codec``."""

    class FoldEvent(recorded.UndecodedEvent, frozen=True, array_like=True, gc=False):
        pass

    class RecordedEvent(recorded.RecordedEvent, frozen=True, kw_only=True, dict=True):
        pass

    FoldEvent.codec = RecordedEvent.codec = codec
    return FoldEvent, RecordedEvent


def payload_version(said: object) -> int:
    """The version that metadata, or its text, says a payload has. Raises ValueError where that is none."""
    if said is None:
        return UNMARKED_VERSION
    if not _VERSION.fullmatch(str(said)):
        raise ValueError(f"schema_version {str(said)[:40]!r} is no version: versions are 1, 2, 3 …")
    return int(str(said))
