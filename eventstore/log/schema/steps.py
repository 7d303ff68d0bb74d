"""Steps for the revisions of a team, and for those that no release has yet.

A step does at its revision what its words say, on the tables that there are then, and goes on doing so:
databases are upgraded through old revisions for ever. To change what a step does, add another.
"""

from psycopg import sql
from sqlalchemy import Connection

from eventstore.log.schema.frozen import run_sql

__all__ = ["add_order_column", "create_candidate", "execute", "run_sql"]

_BUCKETS = 16
#: The tables that hold states of orders, whose columns are those of `orders`, and others.
_TABLES_OF_STATES = (
    "orders",
    "orders_candidate",
    "order_history",
    "order_history_candidate",
    "order_snapshots",
    "order_checkpoints",
)


def add_order_column(connection: Connection, name: str, definition: str) -> None:
    """Add a column to `orders` and to every table that shows an order at another time.

    ``definition`` is what SQL wants after the name: ``timestamptz``, or ``int NOT NULL DEFAULT 0``. The rows
    that are there have the default until a replay is promoted, so a new version of the rules goes with it.
    The functions that return rows of `orders` are created anew when the upgrade is through.
    """
    for table in _TABLES_OF_STATES:
        execute(
            connection,
            sql.SQL("ALTER TABLE IF EXISTS {} ADD COLUMN {} {}").format(
                sql.Identifier(table), sql.Identifier(name), sql.SQL(definition)
            ),
        )


def create_candidate(connection: Connection, table: str) -> None:
    """Create `<table>_candidate`, which a replay of a projection fills, in the same buckets as the log.

    ``table`` has the primary key ``order_id``. Readers may read both tables, the projector may write them.
    """
    names = {"table": sql.Identifier(table), "candidate": sql.Identifier(f"{table}_candidate")}
    execute(
        connection,
        sql.SQL(
            "CREATE TABLE {candidate} (LIKE {table} INCLUDING ALL) PARTITION BY HASH (order_id);"
            "GRANT SELECT ON {table}, {candidate} TO eventstore_reader, eventstore_projector;"
            "GRANT INSERT, UPDATE, DELETE ON {table} TO eventstore_projector;"
            "GRANT INSERT, UPDATE, DELETE, TRUNCATE ON {candidate} TO eventstore_projector"
        ).format(**names),
    )
    for bucket in range(_BUCKETS):
        execute(
            connection,
            sql.SQL(
                "CREATE TABLE {bucket} PARTITION OF {candidate} "
                "FOR VALUES WITH (MODULUS {buckets}, REMAINDER {remainder});"
                "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {bucket} TO eventstore_projector"
            ).format(
                bucket=sql.Identifier(f"{table}_candidate_{bucket:02d}"),
                buckets=_BUCKETS,
                remainder=bucket,
                **names,
            ),
        )


def execute(connection: Connection, statement: str | sql.Composable) -> str:
    """Execute; returns the first value of the answer, where there is one."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    finally:
        cursor.close()
    return str(row[0]) if row else ""
