"""Read events of the log in the shape that a fold takes."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import Connection

#: The columns of a FoldEvent, in its order.
FOLD_COLUMNS = (
    "id, order_id, version, event_type, event_data::text, created_at, metadata ->> 'schema_version'"
)

_FOLD_JSON = FOLD_COLUMNS.replace("event_data::text", "event_data")
_decode = msgspec.json.Decoder(FoldEvent).decode

_BELOW_MS = (1 << 80) - 1  # the bits of a uuidv7 below its millisecond


def events_between(connection: Connection, after: UUID, until: UUID, limit: int) -> list[FoldEvent]:
    """The first ``limit`` events with ``after < id <= until``, lowest ids first; fewer if there are no more.

    More where the last millisecond holds more: a chunk never ends within one, because all that a
    millisecond recorded becomes known at once.
    """
    query = f"SELECT {FOLD_COLUMNS} FROM order_events WHERE id > %s AND id <= %s ORDER BY id LIMIT %s"
    events = [fold_event(row) for row in connection.execute(query, (after, until, limit))]
    if len(events) == limit:
        last = events[-1].id
        end_of_its_ms = min(until, UUID(int=last.int | _BELOW_MS))
        events += (fold_event(row) for row in connection.execute(query, (last, end_of_its_ms, None)))
    return events


def events_of(connection: Connection, order_ids: list[UUID], until: UUID) -> Iterator[FoldEvent]:
    """All events with ``id <= until`` of the given orders, each order's in the order of its fold."""
    with connection.cursor(name="events_of") as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            f"SELECT {FOLD_COLUMNS} FROM order_events WHERE order_id = ANY(%s) AND id <= %s "
            "ORDER BY order_id, created_at, version",
            (order_ids, until),
        )
        yield from map(fold_event, cursor)


def events_of_bucket(connection: Connection, bucket: int, until: UUID) -> Iterator[FoldEvent]:
    """All events with ``id <= until`` of a bucket, each order's in the order of its fold; streamed."""
    query = (
        f"COPY (SELECT json_build_array({_FOLD_JSON}) FROM order_events_{bucket:02d} WHERE id <= %s "
        "ORDER BY order_id, created_at, version) TO STDOUT"
    )
    with connection.cursor() as cursor, cursor.copy(query, (until,)) as copy:
        for line in copy:
            # The one thing that COPY escapes in a line of JSON is the backslash.
            json = bytes(line)
            yield _decode(json.replace(b"\\\\", b"\\") if b"\\" in json else json)


def fold_event(row: tuple[Any, ...]) -> FoldEvent:
    """The event that a row of FOLD_COLUMNS holds."""
    event_id, order_id, version, event_type, data, created_at, payload_version = row
    return FoldEvent(
        event_id, order_id, version, event_type, msgspec.Raw(data.encode()), created_at, payload_version
    )
