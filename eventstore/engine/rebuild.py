"""Rebuild: every read model anew from the log, beside the old one, and then in its place.

Nothing is dropped first: readers see all of an old table or all of the new one. A table after the other: the
projections as a replay makes them, bucket by bucket, then the snapshots and what is derived. How far it is
commits with what was made, so a rebuild that was killed at any moment goes on there.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from eventstore.engine.candidate import discard, standing_buckets
from eventstore.engine.derived import Derived, refresh_derived
from eventstore.engine.domain import Domain
from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.projection import Projection
from eventstore.engine.promote import promote
from eventstore.engine.proofs import read_models
from eventstore.engine.refresh import refresh
from eventstore.engine.replay import BucketReplayed, replay_bucket
from eventstore.engine.snapshots.build import rebuild_snapshots
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.standing import rules_in_force
from eventstore.kernel.folding import Folding
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import PROJECTION_LOCK, Connection
from eventstore.log.counting import count_rows
from eventstore.log.epochs import current_epoch
from eventstore.log.errors import BusyError, EventStoreError
from eventstore.log.feed import horizon, publish_horizon

_LOCK = "rebuild"

Progress = Callable[[int], None]
#: Shows the progress of a read model, of which there are so many events to be folded, or rows to be read.
Shown = Callable[[str, int], AbstractContextManager[Progress]]


#: Replays buckets of a projection by these rules, held, one by one or side by side; gives each that stands,
#: and tells of events as they pass.
Replay = Callable[[Projection[Any], Folding, Iterable[int], Progress], Iterator[BucketReplayed]]


class InterruptedRebuildError(EventStoreError):
    """Another replay took the candidate away."""

    def __init__(self, name: str) -> None:
        super().__init__(f"another replay of {name} got in between: run `eventstore rebuild` again")


class TableRebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """What the new rows of a table changed; of one that is written as a whole, how many they are."""

    rows: int | None = None  #: written
    added: int | None = None
    changed: int | None = None
    gone: int | None = None
    seconds: float


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    began_at: datetime
    went_on: bool  #: it was begun by an earlier run that did not come to its end
    tables: dict[str, TableRebuilt]  #: that were rebuilt by this run
    seconds: float


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A rebuild that did not come to its end, or is under way."""

    began_at: datetime
    left: list[str]


def _not_shown(_: str, __: int) -> AbstractContextManager[Progress]:
    return nullcontext(lambda _: None)


def one_by_one(
    connection: Connection,
    projection: Projection[Any],
    folding: Folding,
    buckets: Iterable[int],
    on_progress: Progress,
) -> Iterator[BucketReplayed]:
    for bucket in buckets:
        yield replay_bucket(connection, bucket, projection, on_progress, folding=folding, for_preview=True)


def rebuild(
    connection: Connection,
    domain: Domain[Any],
    *,
    anew: bool = False,
    replay: Replay | None = None,
    shown: Shown = _not_shown,
) -> Rebuilt:
    """Make every read model anew, by the rules that it has. Goes on with what an earlier run began, unless it
    is to begin ``anew`` or the log has begun another epoch since.

    ``replay`` replays buckets, by default this process does. A replay that waits for its promotion is thrown
    away. Raises BusyError while another rebuild runs.
    """
    started = time.monotonic()
    replay = replay or partial(one_by_one, connection)
    with _alone(connection):
        began_at, went_on = _begin(connection, domain, anew)
        tables: dict[str, TableRebuilt] = {}
        left = unfinished(connection, domain)
        for name in left.left if left else ():
            tables[name] = _rebuild_one(connection, domain, name, replay, shown)
        for projection in domain.projections:
            refresh(connection, projection)
        refresh_made_from(connection, domain, domain.projections)
        connection.execute("DELETE FROM rebuild_steps")
    return Rebuilt(began_at=began_at, went_on=went_on, tables=tables, seconds=time.monotonic() - started)


def unfinished(connection: Connection, domain: Domain[Any]) -> Unfinished | None:
    """The rebuild that is under way, or was left unfinished; what is left in the order of its making."""
    rows = connection.execute("SELECT read_model, began_at, done_at FROM rebuild_steps").fetchall()
    if not rows:
        return None
    left = {name for name, _, done_at in rows if done_at is None}
    return Unfinished(began_at=rows[0][1], left=[name for name in read_models(domain) if name in left])


def _begin(connection: Connection, domain: Domain[Any], anew: bool) -> tuple[datetime, bool]:
    """Go on with what was begun, or begin: no bucket stands then. When, and whether it went on."""
    epoch, names = current_epoch(connection), read_models(domain)
    with connection.transaction():
        rows = connection.execute("SELECT read_model, epoch, began_at FROM rebuild_steps").fetchall()
        if not anew and {(name, began_in) for name, began_in, _ in rows} == {(name, epoch) for name in names}:
            return rows[0][2], True
        connection.execute("DELETE FROM rebuild_steps")
        for projection in domain.projections:
            discard(connection, projection)
        (began_at,) = connection.execute(
            "INSERT INTO rebuild_steps (read_model, epoch) SELECT unnest(%s::text[]), %s RETURNING began_at",
            (names, epoch),
        ).fetchone() or (None,)
    assert began_at is not None
    return began_at, False


def _rebuild_one(
    connection: Connection,
    domain: Domain[Any],
    name: str,
    replay: Replay,
    shown: Shown,
) -> TableRebuilt:
    projection = next((each for each in domain.projections if each.name == name), None)
    derived = next((each for each in domain.derived if each.name == name), None)
    if projection is not None:
        return _rebuild_projection(connection, projection, replay, shown)
    if derived is not None:
        return _rebuild_derived(connection, derived, shown)
    assert name == SNAPSHOTS
    return _rebuild_snapshots(connection, domain.states, shown)


def _rebuild_projection(
    connection: Connection, projection: Projection[Any], replay: Replay, shown: Shown
) -> TableRebuilt:
    started = time.monotonic()
    folding = rules_in_force(connection, projection)
    stand = standing_buckets(connection, projection, folding)
    buckets = buckets_of(connection)
    wanted = [bucket for bucket in range(buckets) if bucket not in stand]
    events = count_rows(connection, "order_events").rows * len(wanted) // buckets
    with shown(projection.name, events) as on_progress:
        for _ in replay(projection, folding, wanted, on_progress):
            pass  # each has committed, and stands
        with connection.transaction():
            promoted = promote(connection, projection, by_hand=True, folding=folding)
            if promoted is None:
                raise InterruptedRebuildError(projection.name)
            _done(connection, projection.name)
    return TableRebuilt(
        added=promoted.added,
        changed=promoted.changed,
        gone=promoted.gone,
        seconds=time.monotonic() - started,
    )


def _rebuild_snapshots(connection: Connection, states: Projection[Any], shown: Shown) -> TableRebuilt:
    started = time.monotonic()
    with shown(SNAPSHOTS, count_rows(connection, "order_events").rows):
        publish_horizon(connection)
        until = horizon(connection)
        with connection.transaction():
            rows = rebuild_snapshots(connection, states, until)
            _done(connection, SNAPSHOTS)
    return TableRebuilt(rows=rows, seconds=time.monotonic() - started)


def _rebuild_derived(connection: Connection, derived: Derived, shown: Shown) -> TableRebuilt:
    with shown(derived.name, count_rows(connection, derived.source.name).rows):
        done = refresh_derived(connection, derived, rebuild=True)
        _done(connection, derived.name)  # killed in between, it is made once more
    return TableRebuilt(rows=done.written, seconds=done.seconds)


def _done(connection: Connection, name: str) -> None:
    connection.execute("UPDATE rebuild_steps SET done_at = now() WHERE read_model = %s", (name,))


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """One rebuild at a time: two would make and take away the same candidates."""
    key = (PROJECTION_LOCK, _LOCK)
    (locked,) = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", key).fetchone() or (
        False,
    )
    if not locked:
        (pid,) = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
            "AND classid = %s AND objid::bigint = hashtext(%s)::bigint & 4294967295 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            key,
        ).fetchone() or (None,)
        raise BusyError(f"another rebuild is running (pid {pid}): wait for it, or end it")
    unlock = partial(connection.execute, "SELECT pg_advisory_unlock(%s, hashtext(%s))", key)
    try:
        yield
    except BaseException:
        if not connection.closed:  # else the lock went with the session
            unlock()
        raise
    unlock()
