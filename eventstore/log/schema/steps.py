"""Steps for the revisions of a team, and for those that no release has yet.

A step does at its revision what its words say, on the tables that there are then, and goes on doing so:
databases are upgraded through old revisions for ever. To change what a step does, add another.
"""

from collections.abc import Sequence
from pathlib import Path

from psycopg import sql
from sqlalchemy import Connection

from eventstore.kernel.buckets import table_of
from eventstore.log.schema.frozen import run_sql
from eventstore.log.schema.splitting import modulus

__all__ = [
    "add_order_column",
    "create_candidate",
    "create_derived",
    "create_queue",
    "execute",
    "read_sql",
    "run_sql",
]

_HERE = Path(__file__).parent
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
    buckets = modulus(connection)
    for bucket in range(buckets):
        execute(
            connection,
            sql.SQL(
                "CREATE TABLE {bucket} PARTITION OF {candidate} "
                "FOR VALUES WITH (MODULUS {buckets}, REMAINDER {remainder});"
                "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {bucket} TO eventstore_projector"
            ).format(
                bucket=sql.Identifier(table_of(f"{table}_candidate", bucket, buckets)),
                buckets=buckets,
                remainder=bucket,
                **names,
            ),
        )


def create_derived(connection: Connection, table: str, source: str, adds: str) -> None:
    """Let ``table`` follow the rows of ``source``, whatever changes them: a queue, and triggers to fill it.

    ``adds`` is the query for what rows of the source add to which groups. It reads them from a relation named
    ``changed`` and returns the primary key of ``table``, and the columns that are added up. A row with a null
    in its key belongs to no group. Where every other column of ``table`` is added up, there is nothing else
    to say; else a statement computes the rows of the groups that changed. See ``Derived``.

    Readers may read both, the projector may write them. The first refresh computes the table from nothing.
    """
    key = execute(
        connection,
        sql.SQL(
            "SELECT string_agg(a.attname, ' ' ORDER BY n) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY "
            "AS k (attnum, n), pg_attribute a WHERE i.indrelid = {}::regclass AND i.indisprimary "
            "AND a.attrelid = i.indrelid AND a.attnum = k.attnum"
        ).format(table),
    ).split()
    create_queue(connection, table, source, adds, key)
    execute(
        connection,
        sql.SQL(
            "UPDATE change_queues SET only_sums = NOT EXISTS (SELECT FROM pg_attribute "
            "WHERE attrelid = {table}::regclass AND attnum > 0 AND NOT attisdropped "
            "AND attname <> ALL (key || sums)) WHERE name = {table}"
        ).format(table=table),
    )
    execute(
        connection,
        sql.SQL(
            "GRANT SELECT ON {table} TO eventstore_reader, eventstore_projector;"
            "GRANT INSERT, UPDATE, DELETE ON {table} TO eventstore_projector"
        ).format(table=sql.Identifier(table)),
    )
    _create_triggers(connection, table, "guard_derived", table, ("INSERT", "UPDATE", "DELETE", "TRUNCATE"))


def create_queue(connection: Connection, name: str, source: str, adds: str, key: Sequence[str]) -> None:
    """Note in ``<name>_changes`` what each statement on ``source`` adds to which groups."""
    queue = f"{name}_changes"
    added = sql.SQL("(WITH changed AS (SELECT * FROM {}) SELECT * FROM (\n{}\n) AS added)").format(
        sql.Identifier(source), sql.SQL(adds)
    )
    execute(
        connection,
        sql.SQL("CREATE TEMPORARY TABLE queue_to_be AS SELECT * FROM {} AS added WITH NO DATA").format(added),
    )
    columns = execute(
        connection,
        "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = 'queue_to_be'::regclass AND attnum > 0",
    ).split()
    sums = [column for column in columns if column not in key]
    execute(
        connection,
        sql.SQL(
            "DROP TABLE queue_to_be;"
            "INSERT INTO change_queues (name, source, key, sums, only_sums, adds) "
            "VALUES ({}, {}, {}, {}, {}, {});"
            "CREATE TABLE {queue} AS SELECT {key}{sums} FROM {added} AS added GROUP BY {key} WITH NO DATA;"
            "COMMENT ON TABLE {queue} IS {comment};"
            "GRANT SELECT ON {queue} TO eventstore_reader;"
            "GRANT SELECT, INSERT, UPDATE, DELETE ON {queue} TO eventstore_projector;"
            "INSERT INTO {queue} DEFAULT VALUES"
        ).format(
            name,
            source,
            list(key),
            sums,
            True,
            adds,
            queue=sql.Identifier(queue),
            added=added,
            key=sql.SQL(", ").join(map(sql.Identifier, key)),
            sums=sql.SQL("").join(
                sql.SQL(", sum({0}) AS {0}").format(sql.Identifier(column)) for column in sums
            ),
            comment=f"What changed in {source} since the last refresh, by group; a row of nulls: everything.",
        ),
    )
    _create_triggers(connection, source, "note_changes", name, ("INSERT", "UPDATE", "DELETE", "TRUNCATE"))
    _create_triggers(connection, queue, "guard_derived", name, ("UPDATE", "DELETE", "TRUNCATE"))


#: By what is done to a table: how a trigger sees its rows. TRUNCATE shows none.
_SEEN_AS = {
    "INSERT": "REFERENCING NEW TABLE AS new_rows",
    "UPDATE": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "REFERENCING OLD TABLE AS old_rows",
    "TRUNCATE": "",
}


def _create_triggers(
    connection: Connection, table: str, function: str, queue: str, kinds: Sequence[str]
) -> None:
    """After each statement of these kinds on the table, also where replication or a restore writes it."""
    for kind in kinds:
        names = {
            "trigger": sql.Identifier(f"{queue}_after_{kind.lower()}"),
            "table": sql.Identifier(table),
            "function": sql.Identifier(function),
            "kind": sql.SQL(kind),
            "rows": sql.SQL(_SEEN_AS[kind] if function == "note_changes" else ""),
            "queue": queue,
        }
        execute(
            connection,
            sql.SQL(
                "CREATE TRIGGER {trigger} AFTER {kind} ON {table} {rows} FOR EACH STATEMENT "
                "EXECUTE FUNCTION {function}({queue});"
                "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}"
            ).format(**names),
        )


def read_sql(revision: str, name: str) -> str:
    """A file of ``sql/<revision>``, to be handed to a step."""
    return (_HERE / "sql" / revision / f"{name}.sql").read_text(encoding="utf-8")


def execute(connection: Connection, statement: str | sql.Composable) -> str:
    """Execute; returns the first value of the answer, where there is one."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        row = cursor.fetchone() if cursor.description else None
    finally:
        cursor.close()
    return str(row[0]) if row else ""
