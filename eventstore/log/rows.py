"""Rows of ``order_events`` as recorded events."""

from typing import Any

import msgspec

from eventstore.domain.events import UndecodableEvent
from eventstore.domain.payload import with_room
from eventstore.domain.recorded import RecordedEvent, from_ms

#: The columns of ``recorded_event``, in its order.
COLUMNS = "id, order_id, version, event_type, event_data::text, created_at, source, source_id, metadata::text"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def recorded_event(row: tuple[Any, ...]) -> RecordedEvent:
    """The event that a row of COLUMNS holds. Where its JSON cannot be decoded, it is given as it is."""
    event_id, order_id, version, event_type, data_text, created_at, source, source_id, metadata_text = row
    undecodable = None
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    try:
        metadata = with_room(_decode, metadata_text)
        data = with_room(_decode, data_text)
    except Exception as error:
        undecodable = UndecodableEvent(event_type, data_text, f"{type(error).__name__}: {error}")
    return RecordedEvent(
        id=event_id,
        order_id=order_id,
        version=version,
        event_type=event_type,
        data=data,
        happened_at=from_ms(created_at),
        source=source,
        source_id=source_id,
        metadata=metadata,
        undecodable=undecodable,
    )
