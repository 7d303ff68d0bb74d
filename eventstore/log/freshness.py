"""How old the answers of a replica are, and what keeps them young."""

from datetime import datetime

import msgspec

from eventstore.kernel.recorded import from_ms
from eventstore.log.connection import Connection
from eventstore.log.feed import publish_horizon


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """What was noted on the primary, and what a replica of it can answer for."""

    is_replica: bool
    complete_up_to: datetime | None = None  #: every event recorded until then is there; None: nobody said so
    age_seconds: float | None = None  #: since the primary said so, by the two servers' clocks


def freshness(connection: Connection) -> Freshness:
    """How old the answers of this server are, if it is a replica."""
    is_replica, horizon_ms, age = connection.execute(
        "SELECT is_replica(), horizon_ms, extract(epoch FROM clock_timestamp() - noted_at)::float8 "
        "FROM (SELECT) AS one LEFT JOIN scanned_horizon ON true"
    ).fetchone() or (False, None, None)
    if horizon_ms is None:
        return Freshness(is_replica=is_replica)
    return Freshness(is_replica=is_replica, complete_up_to=from_ms(horizon_ms), age_seconds=max(0.0, age))


def tell_replicas(connection: Connection, *, always: bool = False) -> None:
    """On the primary: write the horizon into the row that replicas read, where there is something new.

    Without news it is written every ten seconds, so that a replica can tell silence from a primary that is
    gone. Who follows the log there does this too.
    """
    row = connection.execute(
        "SELECT NOT is_replica() AND (%s OR NOT EXISTS (SELECT FROM scanned_horizon r "
        "WHERE r.noted_at BETWEEN clock_timestamp() - interval '10 seconds' AND clock_timestamp() "
        "AND NOT EXISTS (SELECT FROM order_events "
        "WHERE id > uuidv7_ceiling(r.horizon_ms) AND id <= (SELECT feed_ceiling()))))",
        (always,),
    ).fetchone()
    if row and row[0]:
        publish_horizon(connection)
