"""Follow the log: everything that is computed from it is up to date a moment after an append.

The follower asks the log a few times a second; nothing is added to an append. It refreshes as the schedules
do, which may go on beside it: they take turns. There is one at a time; killed at any moment it loses nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Event
from typing import Any, NamedTuple

import msgspec

from eventstore.engine.derived import refresh_derived
from eventstore.engine.domain import Domain
from eventstore.engine.refresh import refresh
from eventstore.engine.snapshots.build import refresh_stale
from eventstore.log.connection import FOLLOWER_LOCK, Connection
from eventstore.log.errors import EventStoreError
from eventstore.log.feed import BEGINNING

#: The log is asked so often. An event waits for half of it on average.
_POLL_S = 0.1
#: … and less and less often, up to this, while its news cannot be read yet because of an open append.
_HELD_POLL_S = 1.0
#: Derived tables and snapshots follow at most so often.
_DERIVED_S, _SNAPSHOTS_S = 1.0, 60.0


class AlreadyFollowedError(EventStoreError):
    """Another session follows the log."""


class Follower(NamedTuple):
    """The session that follows the log."""

    pid: int
    since: datetime | None  #: None where one may not see that


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over all projections that had something to do."""

    events: int  #: folded into the first projection
    lag_seconds: float  #: of the first projection, after it
    seconds: float


def follow(
    connection: Connection,
    domain: Domain[Any],
    stop: Event,
    on_pass: Callable[[Pass], None] = lambda _: None,
    on_begin: Callable[[], None] = lambda: None,
) -> None:
    """Refresh all projections, derived tables and snapshots as events come, until ``stop`` is set.

    ``on_begin`` hears that nobody else follows, ``on_pass`` of each pass in which events were folded. Raises
    AlreadyFollowedError while another session follows.
    """
    names = [projection.name for projection in domain.projections]
    behind = {"derived": 0.0, "snapshots": 0.0}  # when they were brought up to date last
    changed = dict.fromkeys(behind, True)
    pause = _POLL_S
    with _alone(connection):
        on_begin()
        while not stop.wait(pause):
            if _has_news(connection, names):
                started = time.monotonic()
                first, *_ = [refresh(connection, projection) for projection in domain.projections]
                if first.events:
                    changed = dict.fromkeys(changed, True)
                    seconds = time.monotonic() - started
                    on_pass(Pass(events=first.events, lag_seconds=first.lag.seconds, seconds=seconds))
                pause = _POLL_S if first.events else min(2 * pause, _HELD_POLL_S)
            else:
                pause = _POLL_S
            now = time.monotonic()
            if changed["derived"] and now > behind["derived"] + _DERIVED_S:
                for derived in domain.derived:
                    refresh_derived(connection, derived)
                changed["derived"], behind["derived"] = False, now
            if changed["snapshots"] and now > behind["snapshots"] + _SNAPSHOTS_S:
                refresh_stale(connection, domain.states)
                changed["snapshots"], behind["snapshots"] = False, now


def follower(connection: Connection) -> Follower | None:
    """The session that follows the log now."""
    row = connection.execute(
        "SELECT l.pid, a.backend_start FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = 0 AND l.objsubid = 2 "
        "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        (FOLLOWER_LOCK,),
    ).fetchone()
    return Follower(*row) if row else None


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    (locked,) = connection.execute("SELECT pg_try_advisory_lock(%s, 0)", (FOLLOWER_LOCK,)).fetchone() or (0,)
    if not locked:
        other = follower(connection)
        who = f" (session {other.pid})" if other else ""
        raise AlreadyFollowedError(f"another process follows the log already{who}: there is one at a time")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, 0)", (FOLLOWER_LOCK,))


def _has_news(connection: Connection, names: list[str]) -> bool:
    """Whether one of the projections may have events to fold: one index probe in one round trip."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM order_events WHERE id <= (SELECT feed_ceiling()) AND id > "
        "(SELECT coalesce(watermark, %s) AS lowest FROM unnest(%s::text[]) AS n (name) "
        "LEFT JOIN projections USING (name) ORDER BY lowest LIMIT 1))",
        (BEGINNING, names),
    ).fetchone()
    return bool(row and row[0])
