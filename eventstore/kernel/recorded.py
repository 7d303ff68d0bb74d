"""An event as the log holds it."""

from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, Protocol
from uuid import UUID

import msgspec
import uuid6

from eventstore.kernel.events import Event, UndecodableEvent, UnknownEvent
from eventstore.kernel.room import with_room

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)

#: The business times that the log takes: the years 1 to 9999.
BEGINNING_OF_TIME_MS = -62_135_596_800_000
END_OF_TIME_MS = 253_402_300_799_999


def from_ms(ms: int) -> datetime:
    """Milliseconds since 1970 as a UTC datetime."""
    return _EPOCH + ms * _MS


def to_ms(at: datetime) -> int:
    """A datetime in milliseconds since 1970 (fractions cut off); without a zone it is read as UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MS


class Decoder(Protocol):
    """Makes typed events of payloads; the `Codec` of a domain does."""

    def decode_marked(
        self, event_type: str, data: msgspec.Raw | bytes, said: object, /
    ) -> Event | UnknownEvent: ...


class FoldEvent(Protocol):
    """What a fold needs of a recorded event."""

    @property
    def event_type(self) -> str: ...
    @property
    def id(self) -> UUID: ...
    @property
    def order_id(self) -> UUID: ...
    @property
    def version(self) -> int: ...
    @property
    def created_at(self) -> int:
        """Business time, ms since 1970."""

    @property
    def event(self) -> Event | UnknownEvent:
        """The typed event. Raises whatever it is that keeps it from being decoded."""


class UndecodedEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A FoldEvent whose payload is not looked at until somebody asks for it.

    Those that are read are of a subclass that a `Codec` makes: it knows the event types.
    """

    codec: ClassVar[Decoder]

    event_type: str
    id: UUID
    order_id: UUID
    version: int
    created_at: int
    payload_version: str | None  #: as metadata says; None where it says nothing
    data: msgspec.Raw  #: the payload as JSON

    @property
    def event(self) -> Event | UnknownEvent:
        """Decoded at each call."""
        return self.codec.decode_marked(self.event_type, self.data, self.payload_version)


#: The key that puts the events of an order in the order of their fold.
fold_order = attrgetter("created_at", "version")


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One row of the log, of a subclass that a `Codec` makes: it knows the event types."""

    codec: ClassVar[Decoder]

    id: UUID
    order_id: UUID
    version: int
    event_type: str
    data: dict[str, Any]
    happened_at: datetime  #: business time (created_at)
    source: str | None = None
    source_id: str | None = None
    metadata: dict[str, Any] = {}
    #: The payload as the log has it and why it, or the metadata, cannot be decoded; ``data`` is empty then.
    undecodable: UndecodableEvent | None = None

    @cached_property
    def recorded_at(self) -> datetime:
        """When the store recorded it: the millisecond in its id, of an absurd one the last that there is."""
        return from_ms(min(uuid6.UUID(int=self.id.int, version=7).time, END_OF_TIME_MS))

    @cached_property
    def payload(self) -> bytes:
        """The payload as JSON."""
        if self.undecodable is not None:
            return self.undecodable.raw.encode()
        return with_room(msgspec.json.encode, self.data)

    @cached_property
    def event(self) -> Event | UnknownEvent | UndecodableEvent:
        """The typed event. Never raises: what makes no sense is an UndecodableEvent."""
        if self.undecodable is not None:
            return self.undecodable
        try:
            said = self.metadata.get("schema_version")
            return self.codec.decode_marked(self.event_type, self.payload, said)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            return UndecodableEvent(self.event_type, self.payload.decode(), what)
