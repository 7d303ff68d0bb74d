"""Fold orders again, each from its latest valid snapshot on, and write the snapshots that this gives."""

from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date
from itertools import groupby, islice
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.domain.days import END_OF_TIME_MS, LAST_VERSION, Kept, states_to_keep
from eventstore.domain.folding import Folding, evolve
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import Connection
from eventstore.readmodels.copying import copy_rows
from eventstore.readmodels.events import FOLD_JSON, events_in
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.quarantine import Poisoned, poisoned_by, quarantine
from eventstore.readmodels.starts import START_COLUMNS, Start, as_start, beginning

SNAPSHOTS, CHECKPOINTS = "order_snapshots", "order_checkpoints"

_BATCH = 5_000
_COLUMNS = ("day", "until_at", "until_version", "events", *ORDERS.columns)


class _PoisonError(Exception):
    """The rules failed on an event."""

    def __init__(self, poisoned: Poisoned) -> None:
        super().__init__(poisoned.error)
        self.poisoned = poisoned


def list_orders(connection: Connection, query: str, parameters: dict[str, Any], rules: Folding) -> int:
    """List the orders to fold again in this transaction, and where each starts; returns their number.

    ``query`` gives (order_id, from_at, from_version): what is kept of the order before that position in the
    order of the fold is valid.
    """
    connection.execute(
        "CREATE TEMPORARY TABLE IF NOT EXISTS orders_to_refold (refold_id uuid PRIMARY KEY, from_at bigint, "
        "from_version int, after_at bigint, after_version int) ON COMMIT DELETE ROWS"
    )
    connection.execute("TRUNCATE orders_to_refold")
    listed = connection.execute(
        "INSERT INTO orders_to_refold "
        "SELECT w.order_id, w.from_at, w.from_version, s.until_at, s.until_version "
        f"FROM ({query}) w (order_id, from_at, from_version) LEFT JOIN LATERAL latest_snapshot("
        "w.order_id, w.from_at, w.from_version, %(last_version)s, %(rules)s) s ON true",
        {**parameters, "last_version": LAST_VERSION, "rules": rules.version},
    ).rowcount
    connection.execute("ANALYZE orders_to_refold")
    return listed


def delete_superseded(connection: Connection) -> None:
    """Delete what is kept of the listed orders from their position on."""
    connection.execute(
        "DELETE FROM order_snapshots s USING orders_to_refold w "
        "WHERE s.order_id = w.refold_id AND s.day >= business_day(w.from_at)"
    )
    connection.execute(
        "DELETE FROM order_checkpoints c USING orders_to_refold w "
        "WHERE c.order_id = w.refold_id AND (c.until_at, c.until_version) >= (w.from_at, w.from_version)"
    )


def refold(
    connection: Connection,
    rules: Folding,
    *,
    until: UUID,
    until_ms: int = END_OF_TIME_MS,
    days: Container[date],
    every: int | None = None,
) -> int:
    """Fold the listed orders up to the id ``until`` and the business time ``until_ms``. Write the snapshots
    at the end of ``days`` and, with ``every``, checkpoints. Returns the number of snapshots. Memory is flat.

    An event that the rules fail on stops its order, which goes into quarantine, and not the others.
    """
    poisoned: list[Poisoned] = []
    starts = _starts(connection, rules)
    kept = _kept(_events(connection, until, until_ms), starts, rules, days, every, poisoned.append)
    snapshots = 0
    while batch := list(islice(kept, _BATCH)):
        ends_of_days = [entry for entry in batch if entry.is_end_of_day]
        _copy(connection, SNAPSHOTS, ends_of_days, rules)
        _copy(connection, CHECKPOINTS, [entry for entry in batch if not entry.is_end_of_day], rules)
        snapshots += len(ends_of_days)
    quarantine(connection, SNAPSHOTS, poisoned)
    return snapshots


def _kept(
    events: Iterator[FoldEvent],
    starts: Iterator[Start],
    rules: Folding,
    days: Container[date],
    every: int | None,
    set_aside: Callable[[Poisoned], None],
) -> Iterator[Kept]:
    """What is to be kept of the orders that ``events`` belong to; both iterators rise by order_id."""

    def evolved(state: OrderState, event: FoldEvent) -> OrderState:
        try:
            return evolve(rules, state, event)
        except Exception as error:
            raise _PoisonError(poisoned_by(event, error)) from error

    ahead = next(starts, None)
    for order_id, stream in groupby(events, key=attrgetter("order_id")):
        while ahead is not None and ahead.state.order_id < order_id:
            ahead = next(starts, None)
        start = ahead if ahead is not None and ahead.state.order_id == order_id else beginning(order_id)
        try:
            yield from states_to_keep(start.state, start.events, stream, evolved, days, every)
        except _PoisonError as error:
            set_aside(error.poisoned)


def _events(connection: Connection, until: UUID, until_ms: int) -> Iterator[FoldEvent]:
    with connection.cursor(name="events_to_refold") as cursor:
        cursor.execute(
            f"SELECT {FOLD_JSON} FROM order_events JOIN orders_to_refold ON order_id = refold_id "
            "WHERE id <= %s AND created_at <= %s "
            "AND (after_at IS NULL OR (created_at, version) > (after_at, after_version)) "
            "ORDER BY order_id, created_at, version",
            (until, until_ms),
        )
        while rows := cursor.fetchmany(_BATCH):
            yield from events_in(rows)


def _starts(connection: Connection, rules: Folding) -> Iterator[Start]:
    with connection.cursor(name="starts") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(
            sql.SQL(
                "SELECT {} FROM orders_to_refold w JOIN LATERAL latest_snapshot("
                "w.refold_id, w.from_at, w.from_version, %s, %s) s ON true "
                "WHERE w.after_at IS NOT NULL ORDER BY w.refold_id"
            ).format(START_COLUMNS),
            (LAST_VERSION, rules.version),
        )
        for row in cursor:
            yield as_start(row)


def _copy(connection: Connection, table: str, kept: Iterable[Kept], rules: Folding) -> None:
    copy_rows(connection, table, _COLUMNS, (_row(entry, rules) for entry in kept))


def _row(kept: Kept, rules: Folding) -> tuple[Any, ...]:
    state = msgspec.structs.replace(kept.state, fold_version=rules.version)
    position = (kept.day, kept.until_at, kept.until_version, kept.events)
    return position + msgspec.structs.astuple(state)
