"""The state of one order on both time axes: what was true at a moment, as it was known at another."""

from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.engine.projection import Projection
from eventstore.engine.reading import FOLD_JSON, events_in
from eventstore.engine.snapshots.starts import Start, as_start, beginning, start_columns
from eventstore.kernel.days import CHECKPOINT_EVERY, LAST_VERSION
from eventstore.kernel.folding import Failure, Folding, S, fold_prefix
from eventstore.kernel.recorded import END_OF_TIME_MS, FoldEvent, fold_order, to_ms
from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError

_FEW = 10 * CHECKPOINT_EVERY


class UnknownVersionError(EventStoreError):
    """The order does not have the version that was asked for."""

    def __init__(self, order_id: UUID, version: int, latest: int) -> None:
        has = f"its versions are 1 to {latest}" if latest else "it has no events"
        super().__init__(f"order {order_id} has no version {version}: {has}")


class UnfoldableEventError(EventStoreError):
    """The rules fail on an event of the order. States before it can be asked for."""

    def __init__(self, failure: Failure, state: Any | None) -> None:
        super().__init__(
            f"the rules fail on version {failure.version} of order {failure.order_id}, {failure.event_type}: "
            f"{failure.error}"
        )
        self.order_id = failure.order_id
        self.version = failure.version
        self.event_type = failure.event_type
        self.state = state  #: before it, None where there is none


def state(
    connection: Connection,
    projection: Projection[S],
    order_id: UUID,
    at: datetime | None = None,
    known: datetime | None = None,
    version: int | None = None,
) -> S | None:
    """The fold of the events that had happened ``at`` and were recorded by ``known``, up to ``version``.

    Without ``at``, ``known`` or ``version`` there is no such limit; a time without a zone is UTC. None where
    no event is within the limits. Raises UnknownVersionError for a version that the order does not have,
    UnfoldableEventError for an event that makes no sense.

    Events never change, so within the limits the answer is one and the same whenever it is asked for. It
    starts from the latest snapshot that holds no event beyond the limits and misses none within.
    """
    until_ms = END_OF_TIME_MS if at is None else to_ms(at)
    limits = _limits(connection, projection, order_id, known, version)
    start = _start(connection, projection, order_id, limits, until_ms)
    tail = _tail(connection, projection, order_id, start, until_ms, limits.last)
    found: S | None = folded_or_raise(limits.rules, start.state, tail)
    return found


def folded_or_raise(folding: Folding, start: S, events: Iterable[FoldEvent]) -> S | None:
    """The state after ``events``, given in the order of the fold; None where there never was one.

    Raises UnfoldableEventError, with the state before it, for the first event that fails.
    """
    found, _, failure = fold_prefix(folding, partial(deepcopy, start), events)
    state = found if found.version else None
    if failure:
        raise UnfoldableEventError(failure, state)
    return state


class _Limits(NamedTuple):
    last: int  #: the last version that may be used
    first_unseen: int | None  #: business time of the first event up to there that snapshots do not know of
    rules: Folding


def _limits(
    connection: Connection,
    projection: Projection[Any],
    order_id: UUID,
    known: datetime | None,
    version: int | None,
) -> _Limits:
    known_ms = None if known is None else max(to_ms(known), 0)
    latest, last, first_unseen, fold_version = connection.execute(
        "SELECT coalesce(latest, 0), coalesce(last, 0), first_unseen, fold_version "
        "FROM state_limits(%s, %s, %s)",
        (order_id, known_ms, version),
    ).fetchone() or (0, 0, None, None)
    if version is not None and not 1 <= version <= latest:
        raise UnknownVersionError(order_id, version, latest)
    return _Limits(last, first_unseen, projection.folding(fold_version) or projection.current)


def _start(
    connection: Connection, projection: Projection[Any], order_id: UUID, limits: _Limits, until_ms: int
) -> Start:
    """The latest kept state that holds nothing beyond the limits and misses nothing within."""
    before = (until_ms + 1, 0)
    if limits.first_unseen is not None:  # a later version than any that was kept at the same time
        before = min(before, (limits.first_unseen, LAST_VERSION))
    row = connection.execute(
        sql.SQL("SELECT {} FROM latest_snapshot(%s, %s, %s, %s, %s) s").format(start_columns(projection)),
        (order_id, *before, limits.last, limits.rules.version),
    ).fetchone()
    start = as_start(projection, row) if row else beginning(projection, order_id)
    # A state that left out an event which this code has learned since is of no use.
    learned = any(map(limits.rules.knows, getattr(start.state, "unknown_events", ())))
    return beginning(projection, order_id) if learned else start


def _tail(
    connection: Connection,
    projection: Projection[Any],
    order_id: UUID,
    start: Start,
    until_ms: int,
    last: int,
) -> Iterable[FoldEvent]:
    """The events within the limits that ``start`` does not hold, in the order of the fold."""
    if start.events == start.state.version and last - start.events <= _FEW:
        # It holds exactly the versions up to its own, so the rest are those above, and they are few.
        rows = connection.execute(
            f"SELECT {FOLD_JSON} FROM order_events "
            "WHERE order_id = %s AND version > %s AND version <= %s ORDER BY version",
            (order_id, start.events, last),
        )
        events = events_in(projection.events, rows)
        return sorted(
            (event for event in events if event.created_at <= until_ms),
            key=fold_order,
        )
    rows = connection.execute(
        f"SELECT {FOLD_JSON} FROM events_after(%s, %s, %s) "
        # With + 0, or PostgreSQL may read the stream by its versions, all of it.
        "WHERE created_at <= %s AND version + 0 <= %s ORDER BY created_at, version",
        (order_id, start.at, start.version, until_ms, last),
    )
    return events_in(projection.events, rows)
