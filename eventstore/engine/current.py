"""The state of one order, exact at the moment of the call, whatever the refresh schedule does."""

from typing import Any
from uuid import UUID

from psycopg import sql

from eventstore.engine.projection import Projection
from eventstore.engine.reading import FOLD_JSON, events_in
from eventstore.engine.row_per_order import states_in, states_query
from eventstore.engine.standing import AHEAD_OF_LOG
from eventstore.engine.state import folded_or_raise
from eventstore.kernel.folding import S
from eventstore.kernel.recorded import FoldEvent, fold_order, to_ms
from eventstore.log.connection import Connection


def current(connection: Connection, projection: Projection[S], order_id: UUID) -> S | None:
    """The projected row plus the events above its version, by the rules of the table.

    None for an order without events. Raises UnfoldableEventError where one of them makes no sense.
    """
    table_version, goes_on, state = _standing(connection, projection, order_id)
    folding = projection.folding(table_version)
    if state is None or folding is None or state.fold_version is not None or not goes_on:
        state = projection.initial(order_id)
    tail = _events_above(connection, projection, order_id, state.version)
    if state.version and any(event.created_at < to_ms(state.last_event_at) for event in tail):
        state = projection.initial(order_id)
        tail = _events_above(connection, projection, order_id, 0)
    found: S | None = folded_or_raise(folding or projection.current, state, sorted(tail, key=fold_order))
    return found


def _standing(
    connection: Connection, projection: Projection[S], order_id: UUID
) -> tuple[str, bool, S | None]:
    """The rules of the table; whether what follows may be folded onto the order's row: not where that holds
    only what precedes an event that fails, nor where the table is ahead of the log; and that row. All as of
    one moment: a promotion changes them together.
    """
    row = connection.execute(
        sql.SQL(
            "SELECT fold_version, "
            "NOT EXISTS (SELECT FROM quarantine WHERE projection = name AND order_id = %s) "
            f"AND NOT ({AHEAD_OF_LOG}), ({{}}) FROM projections WHERE name = %s"
        ).format(states_query(projection, projection.name)),
        (order_id, [order_id], projection.name),
    ).fetchone()
    if row is None:
        return projection.fold_version, True, None
    fold_version, goes_on, held = row
    return fold_version, goes_on, states_in(projection, [held])[0] if held else None


def _events_above(
    connection: Connection, projection: Projection[Any], order_id: UUID, version: int
) -> list[FoldEvent]:
    rows = connection.execute(
        f"SELECT {FOLD_JSON} FROM order_events WHERE order_id = %s AND version > %s", (order_id, version)
    )
    return events_in(projection.events, rows)
