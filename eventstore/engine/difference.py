"""The difference between a live table and its candidate, applied: rows that are the same are not touched."""

from typing import Any

from psycopg import sql

from eventstore.engine.projection import Projection
from eventstore.log.connection import Connection


def apply_difference(connection: Connection, projection: Projection[Any]) -> tuple[int, int, int]:
    """Make the live table equal to the candidate; returns the rows added, changed and gone.

    Which row is which, the key of the layout says.
    """
    names = names_of(projection)
    execute = connection.execute
    gone = execute(
        sql.SQL("DELETE FROM {live} o WHERE NOT EXISTS (SELECT FROM {candidate} c WHERE {same})").format(
            **names
        )
    ).rowcount
    if projection.layout.replaces_rows:
        statement = "DELETE FROM {live} o USING {candidate} c WHERE {same} AND {differs}"
    else:
        statement = "UPDATE {live} o SET {assignments} FROM {candidate} c WHERE {same} AND {differs}"
    changed = execute(sql.SQL(statement).format(**names)).rowcount
    written = execute(
        sql.SQL(
            "INSERT INTO {live} ({columns}) SELECT {new_columns} FROM {candidate} c "
            "WHERE NOT EXISTS (SELECT FROM {live} o WHERE {same})"
        ).format(**names)
    ).rowcount
    return written - (changed if projection.layout.replaces_rows else 0), changed, gone


def names_of(projection: Projection[Any]) -> dict[str, sql.Composable]:
    """What statements over the live table ``o`` and the candidate ``c`` say in the place of names."""
    columns = projection.table_columns

    def listed(alias: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(alias, column) for column in columns)

    return {
        "live": sql.Identifier(projection.name),
        "candidate": sql.Identifier(projection.candidate),
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "new_columns": listed("c"),
        "differs": sql.SQL("({}) IS DISTINCT FROM ({})").format(listed("o"), listed("c")),
        "assignments": sql.SQL(", ").join(
            sql.SQL("{0} = c.{0}").format(sql.Identifier(column)) for column in columns
        ),
        "same": sql.SQL(" AND ").join(
            sql.SQL("c.{0} = o.{0}").format(sql.Identifier(column)) for column in projection.layout.key
        ),
    }
