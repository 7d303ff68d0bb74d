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
    connection: Connection, projection: Projection[Any], table: str, order_ids: Iterable[UUID]
) -> dict[UUID, Any]:
    """The states that ``table`` holds of the given orders; as JSON, which is read in half the time."""
    query = sql.SQL(
        "SELECT row_to_json(s)::text FROM (SELECT {} FROM {} WHERE order_id = ANY(%s::uuid[])) s"
    ).format(column_list(projection), sql.Identifier(table))
    ids = "{" + ",".join(f"{order_id.int:032x}" for order_id in order_ids) + "}"
    rows = connection.execute(query, (ids,)).fetchall()
    state: type[Any] = projection.state_type
    text = "[" + ",".join(row for (row,) in rows) + "]"
    states: list[Any] = msgspec.json.decode(text, type=list[state])  # type: ignore[valid-type]
    return {state.order_id: state for state in states}


def state_of(projection: Projection[Any], values: Iterable[Any]) -> Any:
    """The state that the values of a row, in the order of the projection's columns, stand for."""
    fields = (tuple(value) if isinstance(value, list) else value for value in values)
    return projection.state_type(**dict(zip(projection.columns, fields, strict=True)))


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
    copy_rows(connection, folded, projection.columns, states, msgspec.structs.astuple)
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


def delete_rows(connection: Connection, table: str, order_ids: list[UUID]) -> int:
    """Delete all rows of the given orders; returns how many."""
    if not order_ids:
        return 0
    return connection.execute(
        sql.SQL("DELETE FROM {} WHERE order_id = ANY(%s)").format(sql.Identifier(table)), (order_ids,)
    ).rowcount


def apply_difference(connection: Connection, projection: Projection[Any]) -> tuple[int, int, int]:
    """Make the live table equal to the candidate, touching only rows that differ; a row per order in both.

    Returns the rows added, changed and gone.
    """
    names = {
        "live": sql.Identifier(projection.name),
        "candidate": sql.Identifier(projection.candidate),
        "columns": column_list(projection),
        "live_columns": sql.SQL(", ").join(sql.Identifier("o", column) for column in projection.columns),
        "new_columns": sql.SQL(", ").join(sql.Identifier("c", column) for column in projection.columns),
        "assignments": sql.SQL(", ").join(
            sql.SQL("{0} = c.{0}").format(sql.Identifier(column)) for column in projection.columns
        ),
    }
    gone = connection.execute(
        sql.SQL(
            "DELETE FROM {live} o WHERE NOT EXISTS (SELECT FROM {candidate} c WHERE c.order_id = o.order_id)"
        ).format(**names)
    ).rowcount
    changed = connection.execute(
        sql.SQL(
            "UPDATE {live} o SET {assignments} FROM {candidate} c WHERE c.order_id = o.order_id "
            "AND ({live_columns}) IS DISTINCT FROM ({new_columns})"
        ).format(**names)
    ).rowcount
    added = connection.execute(
        sql.SQL(
            "INSERT INTO {live} ({columns}) SELECT {new_columns} FROM {candidate} c "
            "WHERE NOT EXISTS (SELECT FROM {live} o WHERE o.order_id = c.order_id)"
        ).format(**names)
    ).rowcount
    return added, changed, gone
