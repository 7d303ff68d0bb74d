"""How many rows a table has: counted where that is cheap, else estimated as PostgreSQL's planner does."""

from typing import NamedTuple

from psycopg import sql

from eventstore.log.connection import Connection

#: Tables of up to so many rows are counted.
COUNTED = 100_000


class Rows(NamedTuple):
    rows: int
    exact: bool  #: False: the planner's estimate, usually within a few percent


def count_rows(connection: Connection, table: str) -> Rows:
    """The cost does not grow with the table."""
    name = sql.Identifier(table)
    estimate = _estimate(connection, name)
    if estimate > COUNTED:
        return Rows(estimate, exact=False)
    (rows,) = connection.execute(
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) counted").format(name, COUNTED + 1)
    ).fetchone() or (0,)
    # One that has grown much since it was last looked at.
    return Rows(rows, exact=True) if rows <= COUNTED else Rows(max(rows, estimate), exact=False)


def _estimate(connection: Connection, name: sql.Identifier) -> int:
    """What the planner expects of a scan: the rows of a page when it last looked, times the pages now."""
    (plan,) = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM {}").format(name)).fetchone() or (
        [],
    )
    return int(plan[0]["Plan"]["Plan Rows"])
