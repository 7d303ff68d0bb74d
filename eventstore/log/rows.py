"""Rows of ``order_events`` as recorded events."""

from typing import Any

import msgspec

from eventstore.kernel.codec import Codec
from eventstore.kernel.events import UndecodableEvent
from eventstore.kernel.recorded import RecordedEvent, from_ms
from eventstore.kernel.room import with_room

#: The columns of ``recorded_event``, in its order.
COLUMNS = "id, order_id, version, event_type, event_data::text, created_at, source, source_id, metadata::text"

#: Knows no event type: each event is an UnknownEvent.
NO_TYPES = Codec(())

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def recorded_event(row: tuple[Any, ...], codec: Codec) -> RecordedEvent:
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
    return codec.recorded_event(
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
