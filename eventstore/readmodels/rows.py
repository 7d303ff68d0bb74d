"""Between the states of a projection and the rows of its table."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.readmodels.copying import copy_rows
from eventstore.readmodels.projection import Projection


def column_list(projection: Projection[Any]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, projection.columns))


def table_column_list(projection: Projection[Any]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, projection.table_columns))


def read_states(
    connection: Connection, projection: Projection[Any], table: str, order_ids: list[UUID]
) -> dict[UUID, Any]:
    """The states that ``table`` holds of the given orders."""
    query = sql.SQL("SELECT {} FROM {} WHERE order_id = ANY(%s)").format(
        column_list(projection), sql.Identifier(table)
    )
    columns = projection.columns
    make: Any = type(projection.initial(UUID(int=0)))
    states: dict[UUID, Any] = {}
    for row in connection.execute(query, (order_ids,)):
        values = (tuple(value) if isinstance(value, list) else value for value in row)
        state = make(**dict(zip(columns, values, strict=True)))
        states[state.order_id] = state
    return states


def upsert_states(
    connection: Connection, projection: Projection[Any], table: str, states: Iterable[Any]
) -> int:
    """Write the states into ``table``, set-based: COPY beside it, then one statement; returns how many."""
    names = column_list(projection)
    folded = f"{projection.name}_folded"
    staging = sql.Identifier(folded)
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(
            staging, sql.Identifier(projection.name)
        )
    )
    connection.execute(sql.SQL("TRUNCATE {}").format(staging))
    copy_rows(connection, folded, projection.columns, map(msgspec.structs.astuple, states))
    assignments = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column))
        for column in projection.columns
        if column != "order_id"
    )
    return connection.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ON CONFLICT (order_id) DO UPDATE SET {}").format(
            sql.Identifier(table), names, names, staging, assignments
        )
    ).rowcount


def mark_rows(states: Iterable[Any], mark: str | None) -> Iterable[Any]:
    """The states with ``fold_version`` as their rows are to say it."""
    if mark is None:
        return states
    return (msgspec.structs.replace(state, fold_version=mark) for state in states)
