"""A table with one row per order: its state after the events that were folded."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.engine.fold import refold
from eventstore.engine.projection import Advance, Folded, Outcome, Projection, Target
from eventstore.engine.quarantine import quarantined
from eventstore.engine.writing import copy_rows, delete_rows, lines_of, write_apart
from eventstore.kernel.folding import FoldError, advance, fold_prefix
from eventstore.kernel.recorded import FoldEvent, fold_order, to_ms
from eventstore.log.connection import Connection


class RowPerOrder:
    """The layout of such a table. Its columns are the fields of the state."""

    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ("order_id",)
    replaces_rows = False

    def fold_into(self, connection: Connection, target: Target, events: list[FoldEvent]) -> Folded:
        """As the protocol demands. Folded again from the start are the orders with a late event, one older
        than what the row holds; those whose row was folded by other rules, so that no row mixes two; those in
        quarantine, and those that fail now.
        """
        by_order: dict[int, list[FoldEvent]] = {}
        for event in events:
            by_order.setdefault(event.order_id.int, []).append(event)  # a UUID is slow to hash
        orders = {stream[0].order_id: stream for stream in by_order.values()}
        before = read_states(connection, target.projection, target.table, orders)
        again = quarantined(connection, target.table) & orders.keys()
        folded: list[Outcome] = []
        for order_id, stream in orders.items():
            state = before.get(order_id) or target.projection.initial(order_id)
            new_events = [event for event in stream if event.version > state.version]
            if not new_events or order_id in again:
                continue
            new_events.sort(key=fold_order)
            late = new_events[0].created_at < to_ms(state.last_event_at)
            if state.version and (late or state.fold_version != target.mark):
                again.add(order_id)
                continue
            try:
                for event in new_events:
                    advance(target.folding, state, event)
            except FoldError:
                again.add(order_id)
            else:
                folded.append(Outcome(order_id, [_marked(state, target.mark)], None))
        rows, refused = write_apart(connection, partial(self.replace, connection, target), folded)
        again |= {outcome.order_id for outcome, _ in refused}
        refolded = refold(connection, target, list(again), until=events[-1].id) if again else 0
        return Folded(rows=rows + refolded, refolded=refolded)

    def outcomes(
        self, target: Target, events: Iterable[FoldEvent], advance: Advance = advance
    ) -> Iterator[Outcome]:
        """Fold orders whose events come one order after the other, each up to an event that fails."""
        for _, stream in groupby(events, key=attrgetter("order_id.int")):  # a UUID is slow to compare
            first = next(stream)
            initial = partial(target.projection.initial, first.order_id)
            state, folded, failure = fold_prefix(target.folding, initial, chain((first,), stream), advance)  # noqa: B031
            yield Outcome(first.order_id, [_marked(state, target.mark)] if folded else [], failure)

    def replace(self, connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
        gone = [outcome.order_id for outcome in outcomes if not outcome.kept]
        states = [state for outcome in outcomes for state in outcome.kept]
        delete_rows(connection, target.table, gone)
        return _upsert(connection, target.projection, target.table, states) if states else 0

    def lines(self, states: list[Any]) -> bytes:
        return lines_of(map(msgspec.structs.astuple, states))

    def row_after(self, state: Any, _: FoldEvent) -> Sequence[Any]:
        return msgspec.structs.astuple(state)


ROW_PER_ORDER = RowPerOrder()


def read_states(
    connection: Connection, projection: Projection[Any], table: str, order_ids: Iterable[UUID]
) -> dict[UUID, Any]:
    """The states that ``table`` holds of the given orders."""
    ids = "{" + ",".join(f"{order_id.int:032x}" for order_id in order_ids) + "}"
    rows = connection.execute(states_query(projection, table), (ids,)).fetchall()
    return {state.order_id: state for state in states_in(projection, (row for (row,) in rows))}


def states_query(projection: Projection[Any], table: str) -> sql.Composed:
    """The states of the orders of its one parameter, as JSON, which is read in half the time."""
    return sql.SQL(
        "SELECT row_to_json(s)::text FROM (SELECT {} FROM {} WHERE order_id = ANY(%s::uuid[])) s"
    ).format(sql.SQL(", ").join(map(sql.Identifier, projection.columns)), sql.Identifier(table))


def states_in(projection: Projection[Any], rows: Iterable[str]) -> list[Any]:
    """What ``states_query`` returned."""
    state: type[Any] = projection.state_type
    states: list[Any] = msgspec.json.decode("[" + ",".join(rows) + "]", type=list[state])  # type: ignore[valid-type]
    return states


def state_of(projection: Projection[Any], values: Iterable[Any]) -> Any:
    """The state that the values of a row, in the order of the projection's columns, stand for."""
    fields = (tuple(value) if isinstance(value, list) else value for value in values)
    return projection.state_type(**dict(zip(projection.columns, fields, strict=True)))


def _upsert(connection: Connection, projection: Projection[Any], table: str, states: Iterable[Any]) -> int:
    """Write the states into ``table``, set-based: COPY beside it, then one statement; returns how many."""
    names = sql.SQL(", ").join(map(sql.Identifier, projection.columns))
    folded = f"{projection.name}_folded"
    staging = sql.Identifier(folded)
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(
            staging, sql.Identifier(projection.name)
        )
    )
    connection.execute(sql.SQL("TRUNCATE {}").format(staging))
    copy_rows(connection, folded, projection.columns, states, ROW_PER_ORDER.lines)
    assignments = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column))
        for column in projection.columns
        if column != "order_id"
    )
    return connection.execute(
        # In the order of the index, and mostly of the table, as a replay leaves it: many rows share a page.
        sql.SQL(
            "INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY order_id ON CONFLICT (order_id) DO UPDATE SET {}"
        ).format(sql.Identifier(table), names, names, staging, assignments)
    ).rowcount


def _marked(state: Any, mark: str | None) -> Any:
    """The state with ``fold_version`` as its row is to say it."""
    return state if mark is None else msgspec.structs.replace(state, fold_version=mark)
