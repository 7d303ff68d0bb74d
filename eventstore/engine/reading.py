"""Read events of the log in the shape that a fold takes."""

from collections.abc import Iterable, Iterator
from json import JSONDecoder
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.kernel.buckets import table_of
from eventstore.kernel.codec import Codec
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection

#: An UndecodedEvent as a JSON array; concat() costs the server half of what json_build_array() does.
FOLD_JSON = (
    """concat('[', to_json(event_type), ',"', id, '","', order_id, '",', version, ',', created_at, ',', """
    "coalesce(to_json(metadata ->> 'schema_version'), 'null'), ',', event_data, ']')"
)
_BATCH = 2_000
_DECODED_AT_ONCE = 200  # where one of them is of another version, so many are decoded twice
_decode_value = JSONDecoder().raw_decode

_BELOW_MS = (1 << 80) - 1  # the bits of a uuidv7 below its millisecond


def events_between(
    connection: Connection, codec: Codec, after: UUID, until: UUID, limit: int
) -> list[FoldEvent]:
    """The first ``limit`` events with ``after < id <= until``, lowest ids first; fewer if there are no more.

    More where the last millisecond holds more: a chunk never ends within one, because all that a
    millisecond recorded becomes known at once.
    """
    where = sql.SQL("FROM order_events WHERE id > {} AND id <= {} ORDER BY id LIMIT {}")
    events = list(stream_events(connection, codec, where.format(after, until, limit)))
    if len(events) == limit:
        last = events[-1].id
        end_of_its_ms = min(until, UUID(int=last.int | _BELOW_MS))
        events += stream_events(connection, codec, where.format(last, end_of_its_ms, None))
    return events


def events_of(
    connection: Connection, codec: Codec, order_ids: list[UUID], until: UUID
) -> Iterator[FoldEvent]:
    """All events with ``id <= until`` of the given orders, each order's in the order of its fold."""
    return stream_events(
        connection,
        codec,
        sql.SQL(
            "FROM order_events WHERE order_id = ANY({}) AND id <= {} ORDER BY order_id, created_at, version"
        ).format(order_ids, until),
    )


def events_of_bucket(
    connection: Connection, codec: Codec, bucket: int, buckets: int, until: UUID
) -> Iterator[FoldEvent]:
    """All events with ``id <= until`` of one of so many buckets, each order's in the order of its fold."""
    return stream_events(
        connection,
        codec,
        sql.SQL("FROM {} WHERE id <= {} ORDER BY order_id, created_at, version").format(
            sql.Identifier(table_of("order_events", bucket, buckets)), until
        ),
    )


def stream_events(connection: Connection, codec: Codec, which: sql.Composable) -> Iterator[FoldEvent]:
    """The events that ``which``, the rest of a SELECT, names; streamed. The connection is busy meanwhile.

    While one batch is worked on, the server makes the next. COPY would cost the client twice as much, since
    it gets each row by itself.
    """
    fetch = f"FETCH {_BATCH} FROM events_to_fold"
    with connection.transaction(), connection.pipeline():
        connection.execute("SET LOCAL cursor_tuple_fraction = 1")  # all rows are going to be read
        declare = sql.SQL("DECLARE events_to_fold NO SCROLL CURSOR FOR SELECT {} {}")
        connection.execute(declare.format(sql.SQL(FOLD_JSON), which))
        ahead = connection.execute(fetch, prepare=False)
        while rows := ahead.fetchall():
            ahead = connection.execute(fetch, prepare=False)  # sent, not waited for
            yield from events_in(codec, rows)
        connection.execute("CLOSE events_to_fold")


def events_in(codec: Codec, rows: Iterable[tuple[Any, ...]]) -> list[FoldEvent]:
    """The events that rows of FOLD_JSON hold. What is wrong with a payload is for the fold to find out."""
    lines = [row[0] for row in rows]
    events: list[FoldEvent] = []
    for start in range(0, len(lines), _DECODED_AT_ONCE):
        some = lines[start : start + _DECODED_AT_ONCE]
        try:
            events += codec.fold_events(some)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            events += [_event_in(codec, line) for line in some]
    return events


def _event_in(codec: Codec, line: str) -> FoldEvent:
    """The event of one row; its payload is not looked at."""
    end = 0
    for _ in codec.fold_event.__struct_fields__[:-1]:
        _, end = _decode_value(line, end + 1)
    head = msgspec.json.decode(f"{line[:end]},null]", type=codec.fold_event)
    return msgspec.structs.replace(head, data=msgspec.Raw(line[end + 1 : -1].encode()))
