"""The state of one order, exact at the moment of the call, whatever the refresh schedule does."""

from typing import Any
from uuid import UUID

from eventstore.domain.folding import advance
from eventstore.domain.recorded import FoldEvent, fold_order, to_ms
from eventstore.log.connection import Connection
from eventstore.readmodels.events import FOLD_JSON, events_in
from eventstore.readmodels.projection import ORDERS, Projection
from eventstore.readmodels.rows import read_states


def current(connection: Connection, order_id: UUID, projection: Projection[Any] = ORDERS) -> Any | None:
    """The projected row plus the events above its version, by the rules of the table.

    None for an order without events.
    """
    folding = projection.folding(_table_version(connection, projection))
    state = read_states(connection, projection, projection.name, [order_id]).get(order_id)
    if state is None or folding is None or state.fold_version is not None:
        state = projection.initial(order_id)
    tail = _events_above(connection, order_id, state.version)
    if state.version and any(event.created_at < to_ms(state.last_event_at) for event in tail):
        state = projection.initial(order_id)
        tail = _events_above(connection, order_id, 0)
    for event in sorted(tail, key=fold_order):
        advance(folding or projection.current, state, event)
    return state if state.version else None


def _table_version(connection: Connection, projection: Projection[Any]) -> str:
    row = connection.execute(
        "SELECT fold_version FROM projections WHERE name = %s", (projection.name,)
    ).fetchone()
    return str(row[0]) if row else projection.fold_version


def _events_above(connection: Connection, order_id: UUID, version: int) -> list[FoldEvent]:
    rows = connection.execute(
        f"SELECT {FOLD_JSON} FROM order_events WHERE order_id = %s AND version > %s", (order_id, version)
    )
    return events_in(rows)
