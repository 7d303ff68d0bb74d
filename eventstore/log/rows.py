"""Rows of ``order_events`` as recorded events."""

from typing import Any

from eventstore.domain.recorded import RecordedEvent, from_ms

#: The columns of ``recorded_event``, in its order.
COLUMNS = "id, order_id, version, event_type, event_data, created_at, source, source_id, metadata"


def recorded_event(row: tuple[Any, ...]) -> RecordedEvent:
    """The event that a row of COLUMNS holds."""
    event_id, order_id, version, event_type, data, created_at, source, source_id, metadata = row
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
    )
