"""How far a follower of the feed is behind the log."""

from uuid import UUID

import msgspec

from eventstore.log.connection import Connection


class Lag(msgspec.Struct, frozen=True):
    events: int  #: committed events above the watermark, without those whose ids lie beyond the clock
    seconds: float  #: how long the oldest of them has been waiting; 0 where there is none


def lag_of(connection: Connection, watermark: UUID) -> Lag:
    """The lag of a follower that has seen everything up to ``watermark``."""
    row = connection.execute(
        "SELECT count(*), coalesce(greatest(0, (clock_ms() - uuidv7_ms("
        "(SELECT id FROM order_events WHERE id > %(watermark)s AND id <= (SELECT feed_ceiling()) "
        "ORDER BY id LIMIT 1))) / 1000.0), 0)::float8 "
        "FROM order_events WHERE id > %(watermark)s AND id <= (SELECT feed_ceiling())",
        {"watermark": watermark},
    ).fetchone()
    assert row is not None
    return Lag(events=row[0], seconds=row[1])
