"""Where the fold of an order may start: at its beginning, or at a state that was kept (`latest_snapshot`)."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.engine.projection import Projection
from eventstore.engine.row_per_order import state_of
from eventstore.kernel.recorded import BEGINNING_OF_TIME_MS


class Start(NamedTuple):
    """A state, how many events it holds, and its position in the order of the fold."""

    state: Any
    events: int
    at: int
    version: int


def start_columns(states: Projection[Any]) -> sql.Composed:
    """The columns of ``as_start``, in its order, for a FROM clause that calls latest_snapshot() ``s``."""
    names = ("events", "until_at", "until_version", *states.columns)
    return sql.SQL(", ").join(sql.Identifier("s", name) for name in names)


def beginning(states: Projection[Any], order_id: UUID) -> Start:
    return Start(states.initial(order_id), events=0, at=BEGINNING_OF_TIME_MS, version=0)


def as_start(states: Projection[Any], row: Sequence[Any]) -> Start:
    """The start that a row of ``start_columns`` stands for."""
    events, at, version, *values = row
    state = state_of(states, values)
    state.fold_version = None  # a state does not depend on where its fold started
    return Start(state, events, at, version)
