"""The orders whose snapshots are to be folded again, each from its latest kept state that is still valid."""

from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.engine.fold import write_outcomes
from eventstore.engine.projection import Outcome, Projection, Target
from eventstore.engine.quarantine import settle
from eventstore.engine.reading import FOLD_JSON, events_in
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS, RowPerDay
from eventstore.engine.snapshots.starts import Start, as_start, beginning, start_columns
from eventstore.kernel.days import LAST_VERSION
from eventstore.kernel.folding import Folding, advance
from eventstore.kernel.recorded import END_OF_TIME_MS, FoldEvent
from eventstore.log.connection import Connection

_BATCH = 5_000


class Worklist(NamedTuple):
    """Listed in a temporary table, for as long as the transaction lasts; one at a time in a session."""

    connection: Connection
    states: Projection[Any]
    rules: Folding
    orders: int  #: how many are listed

    def delete_superseded(self) -> None:
        """Delete what is kept of the listed orders from their position on."""
        self.connection.execute(
            "DELETE FROM order_snapshots s USING orders_to_refold w "
            "WHERE s.order_id = w.refold_id AND s.day >= business_day(w.from_at)"
        )
        self.connection.execute(
            "DELETE FROM order_checkpoints c USING orders_to_refold w "
            "WHERE c.order_id = w.refold_id AND (c.until_at, c.until_version) >= (w.from_at, w.from_version)"
        )

    def refold(
        self,
        until: UUID,
        until_ms: int = END_OF_TIME_MS,
        *,
        days: Container[date],
        every: int | None = None,
        settled: bool = True,
        on_progress: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Fold the listed orders up to the id ``until`` and the business time ``until_ms``; write the
        snapshots at the end of ``days`` and, with ``every``, checkpoints. Returns the number of snapshots.

        Memory is flat. What is kept of an order ends before its first event that fails, or, where that is
        refused, before the first that makes a state which is; the order goes into quarantine, and the others
        go on. ``settled``: all that there is of them was folded, so those that do not fail are in it no more.
        ``on_progress`` is told how many orders were done since.
        """
        starts = _Starts(self)
        layout = RowPerDay(starts, days, every)
        target = Target(self.states, SNAPSHOTS, self.rules, layout, self.rules.version)

        def again(order_ids: list[UUID]) -> Iterator[FoldEvent]:
            return self._events(until, until_ms, order_ids)

        def add(outcomes: list[Outcome]) -> int:
            return layout.add(self.connection, target, outcomes)

        snapshots = 0
        for batch in _batches(layout.outcomes(target, self._events(until, until_ms), advance)):
            written, failures = write_outcomes(self.connection, target, batch, again, add)
            snapshots += written
            on_progress(len(batch))
            orders = [outcome.order_id for outcome in batch] if settled else []
            settle(self.connection, SNAPSHOTS, orders, failures)
            starts.forget()
        return snapshots

    def _events(self, until: UUID, until_ms: int, only: list[UUID] | None = None) -> Iterator[FoldEvent]:
        with self.connection.cursor(name="events_to_refold" + ("_again" if only else "")) as cursor:
            cursor.execute(
                f"SELECT {FOLD_JSON} FROM order_events JOIN orders_to_refold ON order_id = refold_id "
                "WHERE id <= %(until)s AND created_at <= %(until_ms)s "
                "AND (%(only)s::uuid[] IS NULL OR refold_id = ANY(%(only)s)) "
                "AND (after_at IS NULL OR (created_at, version) > (after_at, after_version)) "
                "ORDER BY order_id, created_at, version",
                {"until": until, "until_ms": until_ms, "only": only},
            )
            while rows := cursor.fetchmany(_BATCH):
                yield from events_in(self.states.events, rows)

    def starts(self) -> Iterator[Start]:
        """The kept states that the listed orders go on from, by order; not of those that have none."""
        with self.connection.cursor(name="starts") as cursor:
            cursor.itersize = _BATCH
            cursor.execute(
                sql.SQL(
                    "SELECT {} FROM orders_to_refold w JOIN LATERAL latest_snapshot("
                    "w.refold_id, w.from_at, w.from_version, %s, %s) s ON true "
                    "WHERE w.after_at IS NOT NULL ORDER BY w.refold_id"
                ).format(start_columns(self.states)),
                (LAST_VERSION, self.rules.version),
            )
            for row in cursor:
                yield as_start(self.states, row)


def list_orders(
    connection: Connection,
    states: Projection[Any],
    rules: Folding,
    query: str,
    parameters: dict[str, Any],
) -> Worklist:
    """List the orders to fold again in this transaction, and where each starts.

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
    return Worklist(connection, states, rules, listed)


class _Starts:
    """Where each order starts, for orders that are asked for in the order of their ids."""

    def __init__(self, listed: Worklist) -> None:
        self._listed, self._ahead = listed, listed.starts()
        self._next = next(self._ahead, None)
        self._found: dict[UUID, Start] = {}

    def __call__(self, order_id: UUID) -> Start:
        if order_id not in self._found:
            while self._next is not None and self._next.state.order_id < order_id:
                self._next = next(self._ahead, None)
            has_one = self._next is not None and self._next.state.order_id == order_id
            start = self._next if has_one else None
            self._found[order_id] = start or beginning(self._listed.states, order_id)
        return self._found[order_id]

    def forget(self) -> None:
        """Orders that were asked for are not asked for again."""
        self._found = {}


def _batches(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    batch: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        batch.append(outcome)
        size += 1 + len(outcome.kept)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    yield batch
