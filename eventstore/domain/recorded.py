"""An event as the log holds it."""

from datetime import UTC, datetime, timedelta
from functools import cached_property
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
import uuid6

from eventstore.domain.events import Event, UnknownEvent
from eventstore.domain.payload import decode
from eventstore.domain.upcasters import UNMARKED_VERSION

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """Milliseconds since 1970 as a UTC datetime."""
    return _EPOCH + ms * _MS


def to_ms(at: datetime) -> int:
    """A datetime in milliseconds since 1970 (fractions cut off); without a zone it is read as UTC."""
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MS


class FoldEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a fold needs of a recorded event, cheap to make by the million."""

    id: UUID
    order_id: UUID
    version: int
    event_type: str
    data: msgspec.Raw  #: the payload as JSON
    created_at: int  #: business time, ms since 1970
    payload_version: str | None = None  #: as metadata says; None where it says nothing

    @property
    def event(self) -> Event | UnknownEvent:
        """The typed event; decoded at each call."""
        if self.payload_version is None:
            return decode(self.event_type, self.data)
        return decode(self.event_type, self.data, int(self.payload_version))


#: The key that puts the events of an order in the order of their fold.
fold_order = attrgetter("created_at", "version")


class RecordedEvent(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One row of the log."""

    id: UUID
    order_id: UUID
    version: int
    event_type: str
    data: dict[str, Any]
    happened_at: datetime  #: business time (created_at)
    source: str | None = None
    source_id: str | None = None
    metadata: dict[str, Any] = {}

    @cached_property
    def recorded_at(self) -> datetime:
        """When the store recorded it: the millisecond in its id."""
        return from_ms(uuid6.UUID(int=self.id.int).time)

    @cached_property
    def event(self) -> Event | UnknownEvent:
        """The typed event."""
        version = int(self.metadata.get("schema_version", UNMARKED_VERSION))
        return decode(self.event_type, msgspec.json.encode(self.data), version)
