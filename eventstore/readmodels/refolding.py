"""Fold orders again, each from its latest valid snapshot on, and write the snapshots that this gives."""

from collections.abc import Callable, Container, Iterator
from datetime import date
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.domain.days import LAST_VERSION, Kept, day_of, states_to_keep
from eventstore.domain.folding import Failure, FoldError, Folding, evolve
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import END_OF_TIME_MS, FoldEvent
from eventstore.log.connection import Connection
from eventstore.readmodels.copying import copy_rows
from eventstore.readmodels.events import FOLD_JSON, events_in
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.quarantine import quarantine
from eventstore.readmodels.refusals import refusal, write_apart
from eventstore.readmodels.rows import delete_rows
from eventstore.readmodels.starts import START_COLUMNS, Start, as_start, beginning

SNAPSHOTS, CHECKPOINTS = "order_snapshots", "order_checkpoints"

_BATCH = 5_000
_COLUMNS = ("day", "until_at", "until_version", "events", *ORDERS.columns)


class _Refolded(NamedTuple):
    """What is to be kept of an order."""

    order_id: UUID
    kept: list[Kept]
    failure: Failure | None


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
) -> tuple[int, list[Failure]]:
    """Fold the listed orders up to the id ``until`` and the business time ``until_ms``. Write the snapshots
    at the end of ``days`` and, with ``every``, checkpoints. Returns the number of snapshots, and what stops
    which orders. Memory is flat.

    What is kept of an order ends before its first event that fails, or, where that is refused, before the
    first that makes a state which is; the order goes into quarantine. The others go on.
    """
    snapshots = 0
    failures: list[Failure] = []
    refused: list[UUID] = []
    events, starts = _events(connection, until, until_ms), _starts(connection, rules)
    fold = partial(_fold, folding=partial(evolve, rules), days=days, every=every)
    for batch in _batches(fold(events, starts)):
        written, left = write_apart(connection, partial(_write, connection, rules), batch)
        snapshots += written
        failures += [order.failure for order in batch if order.failure]
        refused += [order.order_id for order, _ in left]
    for order_id in refused:
        with connection.transaction(force_rollback=True):
            starts = iter(list(_starts(connection, rules, order_id)))
            delete_rows(connection, SNAPSHOTS, [order_id])  # they are not what a row of it is refused for
            events = _events(connection, until, until_ms, order_id)
            (order,) = fold(events, starts, folding=_evolve_if_writable(connection, rules))
        written, _ = write_apart(connection, partial(_write, connection, rules), [order])
        snapshots += written
        failures += [order.failure] if order.failure else []
    stopped = list({failure.order_id: failure for failure in failures}.values())  # the last one counts
    quarantine(connection, SNAPSHOTS, stopped)
    return snapshots, stopped


def _fold(
    events: Iterator[FoldEvent],
    starts: Iterator[Start],
    folding: Callable[[OrderState, FoldEvent], OrderState],
    days: Container[date],
    every: int | None,
) -> Iterator[_Refolded]:
    """What is to be kept of the orders that ``events`` belong to; both iterators rise by order_id."""
    ahead = next(starts, None)
    for order_id, stream in groupby(events, key=attrgetter("order_id")):
        while ahead is not None and ahead.state.order_id < order_id:
            ahead = next(starts, None)
        start = ahead if ahead is not None and ahead.state.order_id == order_id else beginning(order_id)
        failures: list[Failure] = []
        kept = states_to_keep(start.state, start.events, stream, folding, days, every, failures.append)
        yield _Refolded(order_id, list(kept), next(iter(failures), None))


def _batches(orders: Iterator[_Refolded]) -> Iterator[list[_Refolded]]:
    batch: list[_Refolded] = []
    size = 0
    for order in orders:
        if order.kept or order.failure:
            batch.append(order)
            size += len(order.kept)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    yield batch


def _evolve_if_writable(
    connection: Connection, rules: Folding
) -> Callable[[OrderState, FoldEvent], OrderState]:
    def evolved(before: OrderState, event: FoldEvent) -> OrderState:
        state = evolve(rules, before, event)
        day = day_of(event.created_at)
        kept = Kept(state, 0, day, event.created_at, event.version, is_end_of_day=True)
        try:
            with connection.transaction(force_rollback=True):
                _copy(connection, SNAPSHOTS, [kept], rules)
        except Exception as error:
            if reason := refusal(error):
                raise FoldError(event, reason) from error
            raise
        return state

    return evolved


def _events(
    connection: Connection, until: UUID, until_ms: int, only: UUID | None = None
) -> Iterator[FoldEvent]:
    with connection.cursor(name=f"events_to_refold {only or ''}") as cursor:
        cursor.execute(
            f"SELECT {FOLD_JSON} FROM order_events JOIN orders_to_refold ON order_id = refold_id "
            "WHERE id <= %s AND created_at <= %s AND refold_id = coalesce(%s, refold_id) "
            "AND (after_at IS NULL OR (created_at, version) > (after_at, after_version)) "
            "ORDER BY order_id, created_at, version",
            (until, until_ms, only),
        )
        while rows := cursor.fetchmany(_BATCH):
            yield from events_in(rows)


def _starts(connection: Connection, rules: Folding, only: UUID | None = None) -> Iterator[Start]:
    with connection.cursor(name=f"starts {only or ''}") as cursor:
        cursor.itersize = _BATCH
        cursor.execute(
            sql.SQL(
                "SELECT {} FROM orders_to_refold w JOIN LATERAL latest_snapshot("
                "w.refold_id, w.from_at, w.from_version, %s, %s) s ON true "
                "WHERE w.after_at IS NOT NULL AND w.refold_id = coalesce(%s, w.refold_id) "
                "ORDER BY w.refold_id"
            ).format(START_COLUMNS),
            (LAST_VERSION, rules.version, only),
        )
        for row in cursor:
            yield as_start(row)


def _write(connection: Connection, rules: Folding, orders: list[_Refolded]) -> int:
    kept = [each for order in orders for each in order.kept]
    ends_of_days = [each for each in kept if each.is_end_of_day]
    _copy(connection, SNAPSHOTS, ends_of_days, rules)
    _copy(connection, CHECKPOINTS, [each for each in kept if not each.is_end_of_day], rules)
    return len(ends_of_days)


def _copy(connection: Connection, table: str, kept: list[Kept], rules: Folding) -> None:
    if kept:
        copy_rows(connection, table, _COLUMNS, kept, partial(_row, rules))


def _row(rules: Folding, kept: Kept) -> tuple[Any, ...]:
    state = msgspec.structs.replace(kept.state, fold_version=rules.version)
    position = (kept.day, kept.until_at, kept.until_version, kept.events)
    return position + msgspec.structs.astuple(state)
