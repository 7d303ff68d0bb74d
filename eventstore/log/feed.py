"""Follow the log: the events after a watermark, each exactly once, in the order of their ids."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from eventstore.kernel.codec import Codec
from eventstore.kernel.recorded import RecordedEvent
from eventstore.log.connection import Connection
from eventstore.log.epochs import check_position
from eventstore.log.position import Position
from eventstore.log.rows import COLUMNS, NO_TYPES, recorded_event

BEGINNING = UUID(int=0)


def has_events_after(connection: Connection, watermark: UUID) -> bool:
    """Whether the log holds any committed event above ``watermark`` that can be read, now or soon: one index
    probe, writes nothing. Events with ids beyond the clock do not count before their time comes.
    """
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM order_events WHERE id > %s AND id <= (SELECT feed_ceiling()))",
        (watermark,),
    ).fetchone()
    return bool(row and row[0])


def publish_horizon(connection: Connection) -> None:
    """Let the feed be read up to now, here and on replicas; on a replica this does nothing.

    Must be committed before the read: ``connection`` must be idle.
    """
    if connection.info.transaction_status != 0:
        raise RuntimeError("publish_horizon() needs a connection without an open transaction")
    connection.execute("SELECT publish_horizon()")


def horizon(connection: Connection) -> UUID:
    """The highest id that a reader may have seen; all events up to it are committed and stay as they are."""
    row = connection.execute("SELECT uuidv7_ceiling(horizon_ms())").fetchone()
    assert row is not None
    return UUID(str(row[0]))


def newest_up_to(connection: Connection, until: UUID) -> UUID:
    """The id of the last event up to ``until``, which is no higher than the horizon; or the beginning."""
    row = connection.execute(
        "SELECT id FROM order_events WHERE id <= %s ORDER BY id DESC LIMIT 1", (until,)
    ).fetchone()
    return row[0] if row else BEGINNING


def published(connection: Connection) -> UUID:
    """No reader was ever shown an id above this."""
    row = connection.execute(
        "SELECT uuidv7_ceiling(coalesce(pg_sequence_last_value('feed_horizon'), 0))"
    ).fetchone()
    assert row is not None
    return UUID(str(row[0]))


class Page(NamedTuple):
    """Some events of the feed, and the position behind them."""

    events: Sequence[RecordedEvent]
    position: Position


def read_page(connection: Connection, after: Position, limit: int = 1000, *, codec: Codec = NO_TYPES) -> Page:
    """Up to ``limit`` events behind ``after``, for readers that keep their position elsewhere.

    Raises EpochError where what the reader was given up to ``after`` may not be in this log.
    """
    epoch = check_position(connection, after)
    events = read(connection, after.id, limit, codec=codec)
    return Page(events, Position(epoch, events[-1].id if events else after.id))


def read(
    connection: Connection, after: UUID | None = None, limit: int = 1000, *, codec: Codec = NO_TYPES
) -> list[RecordedEvent]:
    """Up to ``limit`` events with ids above ``after``, lowest first; empty when there are none.

    ``codec`` knows their types; without it each of them is an UnknownEvent.
    """
    if not has_events_after(connection, after or BEGINNING):
        return []
    publish_horizon(connection)
    rows = connection.execute(f"SELECT {COLUMNS} FROM read_events(%s, %s)", (after, limit))
    return [recorded_event(row, codec) for row in rows]


def stream(
    connection: Connection, order_id: UUID, after_version: int = 0, *, codec: Codec = NO_TYPES
) -> Iterator[RecordedEvent]:
    """The events of one order above ``after_version``, in the order of their versions; ``codec`` as above."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM order_events WHERE order_id = %s AND version > %s ORDER BY version",
        (order_id, after_version),
    )
    return (recorded_event(row, codec) for row in rows)
