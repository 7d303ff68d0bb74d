"""Where the fold of an order may start: at its beginning, or at a state that was kept (`latest_snapshot`)."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.domain.order import OrderState
from eventstore.domain.recorded import BEGINNING_OF_TIME_MS
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.rows import state_of

#: The columns of ``as_start``, in its order, for a FROM clause that calls latest_snapshot() ``s``.
START_COLUMNS = sql.SQL(", ").join(
    sql.Identifier("s", column) for column in ("events", "until_at", "until_version", *ORDERS.columns)
)


class Start(NamedTuple):
    """A state, how many events it holds, and its position in the order of the fold."""

    state: OrderState
    events: int
    at: int
    version: int


def beginning(order_id: UUID) -> Start:
    return Start(ORDERS.initial(order_id), events=0, at=BEGINNING_OF_TIME_MS, version=0)


def as_start(row: Sequence[Any]) -> Start:
    """The start that a row of START_COLUMNS stands for."""
    events, at, version, *values = row
    state: OrderState = state_of(ORDERS, values)
    state.fold_version = None  # a state does not depend on where its fold started
    return Start(state, events, at, version)
