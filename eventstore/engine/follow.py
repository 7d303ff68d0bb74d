"""Follow the log: everything that is computed from it is up to date a moment after an append.

The follower asks the log a few times a second; nothing is added to an append. It refreshes as the schedules
do, which may go on beside it: they take turns. There is one at a time; killed at any moment it loses nothing.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from threading import Event
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventstore.engine.derived import refresh_derived
from eventstore.engine.domain import Domain
from eventstore.engine.refresh import refresh
from eventstore.engine.snapshots.build import refresh_stale
from eventstore.engine.standing import standing
from eventstore.log.connection import FOLLOWER_LOCK, Connection, sibling
from eventstore.log.errors import EventStoreError
from eventstore.log.feed import BEGINNING

#: The log is asked so often. An event waits for half of it on average.
_POLL_S = 0.15
#: … and less and less often, up to this, while its news cannot be read yet because of an open append.
_HELD_POLL_S = 1.0
#: What else is computed from the log has more time.
_REST_POLL_S = 0.5
#: Derived tables and snapshots follow at most so often.
_DERIVED_S, _SNAPSHOTS_S = 1.0, 60.0


class AlreadyFollowedError(EventStoreError):
    """Another session follows the log."""


class Follower(NamedTuple):
    """The session that follows the log."""

    pid: int
    since: datetime | None  #: None where one may not see that


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """One refresh of the states that had something to do."""

    events: int  #: folded
    lag_seconds: float  #: after it
    seconds: float


def follow(
    connection: Connection,
    domain: Domain[Any],
    stop: Event,
    on_pass: Callable[[Pass], None] = lambda _: None,
    on_begin: Callable[[], None] = lambda: None,
) -> None:
    """Refresh all projections, derived tables and snapshots as events come, until ``stop`` is set.

    The states come first, everything else follows them in a session of its own. ``on_begin`` hears that
    nobody else follows, ``on_pass`` of each pass in which events were folded into the states. Raises
    AlreadyFollowedError while another session follows.
    """
    with _alone(connection), sibling(connection) as second, ThreadPoolExecutor(1) as thread:
        on_begin()
        ended = Event()  # of either: the other ends with it
        rest = thread.submit(_ending, ended, partial(_follow_rest, second, domain), stop)
        try:
            _ending(ended, partial(_follow_states, connection, domain, on_pass), stop)
        except BaseException:
            second.cancel()
            raise
        rest.result()


def _ending(ended: Event, work: Callable[[Callable[[float], bool]], None], stop: Event) -> None:
    """Work until it is told to stop, or the other one has ended."""

    def wait(seconds: float) -> bool:
        return stop.wait(seconds) or ended.is_set()

    try:
        work(wait)
    finally:
        ended.set()


def _follow_states(
    connection: Connection,
    domain: Domain[Any],
    on_pass: Callable[[Pass], None],
    wait: Callable[[float], bool],
) -> None:
    pause = _POLL_S
    while not wait(pause):
        if not _has_news(connection, [domain.states.name]):
            pause = _POLL_S
            continue
        started = time.monotonic()
        done = refresh(connection, domain.states)
        if done.events:
            seconds = time.monotonic() - started
            on_pass(Pass(events=done.events, lag_seconds=done.lag.seconds, seconds=seconds))
        pause = _POLL_S if done.events else min(2 * pause, _HELD_POLL_S)


def _follow_rest(connection: Connection, domain: Domain[Any], wait: Callable[[float], bool]) -> None:
    """What is made from the states follows when the projections stand still, or a second later."""
    others = domain.projections[1:]
    derived = partial(_refresh_all_derived, domain)
    parts = [_Part(derived, _DERIVED_S), _Part(partial(refresh_stale, states=domain.states), _SNAPSHOTS_S)]
    seen: tuple[UUID, str | None] = (BEGINNING, None)
    while not wait(_REST_POLL_S):
        if others and _has_news(connection, [projection.name for projection in others]):
            for projection in others:
                refresh(connection, projection)
        reached = _standing_of(connection, domain.states.name)
        if reached != seen:
            seen = reached
            for part in parts:
                part.is_due = True
        for part in parts:
            part.bring_up_to_date(connection)


def _standing_of(connection: Connection, name: str) -> tuple[UUID, str | None]:
    """What a change of shows that there is news: events folded, or other rules promoted."""
    found = standing(connection, name)
    return (found.watermark, found.fold_version) if found else (BEGINNING, None)


class _Part:
    """What is refreshed at most so often, and only where something changed since."""

    def __init__(self, refresh: Callable[[Connection], object], pause: float) -> None:
        self.is_due = True
        self._refresh, self._pause, self._done_at = refresh, pause, 0.0

    def bring_up_to_date(self, connection: Connection) -> None:
        now = time.monotonic()
        if self.is_due and now > self._done_at + self._pause:
            self._refresh(connection)
            self.is_due, self._done_at = False, now


def _refresh_all_derived(domain: Domain[Any], connection: Connection) -> None:
    for derived in domain.derived:
        refresh_derived(connection, derived)


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
