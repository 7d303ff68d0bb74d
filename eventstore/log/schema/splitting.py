"""Into how many buckets the log is split: what its partitions say, and how one without events is split anew.

The revisions split it into 16. A log with events keeps its number: every row would have to move, the seals
hold a tree for each bucket, and replays under way know their buckets by number.
"""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Connection

from eventstore.kernel.buckets import POSSIBLE, is_possible, table_of
from eventstore.log.schema.likeness import likeness
from eventstore.server.errors import ServerError

Raw = psycopg.Connection[Any]

_MODULUS = """
    SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM '(?i)modulus ([0-9]+)')::int)
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'public.order_events'::regclass
"""
#: The log, and what replays fill, of a team's own projections too: hash partitioned by the order.
_SPLIT = """
    SELECT c.relname
      FROM pg_partitioned_table p
      JOIN pg_class c ON c.oid = p.partrelid AND c.relnamespace = 'public'::regnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
     WHERE p.partstrat = 'h' AND p.partnatts = 1 AND a.attname = 'order_id' AND a.atttypid = 'uuid'::regtype
       AND (c.relname = 'order_events' OR c.relname LIKE '%\\_candidate')
     ORDER BY c.relname <> 'order_events', c.relname
"""
#: Signs that there are events, or were: then somebody remembers how far they went.
_HAS_HISTORY = """
    SELECT EXISTS (SELECT FROM order_events) OR EXISTS (SELECT FROM seal_checkpoints)
           OR EXISTS (SELECT FROM projections WHERE watermark > '00000000-0000-0000-0000-000000000000')
           OR EXISTS (SELECT FROM consumers WHERE watermark > '00000000-0000-0000-0000-000000000000')
"""


def modulus(connection: Connection) -> int:
    """The number of buckets, as the partitions of the log say it."""
    return _modulus(_raw(connection))


def split(connection: Connection, number: int) -> None:
    """Split a log that has, and had, no event into so many buckets, with all that goes along with it.

    In the transaction of the caller. Raises ServerError, and changes nothing, for a number that cannot be,
    and where the log has another one and events.
    """
    if not is_possible(number):
        raise ServerError(f"{number} buckets cannot be: give {POSSIBLE}")
    raw = _raw(connection)
    if _modulus(raw) == number:
        return
    tables = [name for (name,) in raw.execute(_SPLIT)]
    raw.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(_names(tables)))
    now = _modulus(raw)  # nobody else changes it, and nobody appends, from here on
    if raw.execute(_HAS_HISTORY).fetchone() == (True,):
        raise ServerError(
            f"the log has {now} buckets and events, and keeps both: say {now} or nothing (--buckets, "
            f"EVENTSTORE_BUCKETS, buckets in eventstore.toml); {number} buckets want a database that "
            "never had events"
        )
    for table in tables:
        _split_table(raw, table, number)
    raw.execute("DELETE FROM replay_buckets")
    raw.execute(
        sql.SQL(
            "ALTER TABLE seal_trees DISABLE TRIGGER append_only;"
            "DELETE FROM seal_trees; INSERT INTO seal_trees (bucket) SELECT generate_series(0, {});"
            "ALTER TABLE seal_trees ENABLE ALWAYS TRIGGER append_only;"
            "UPDATE seal_verification SET bucket = 0, tile = 0"
        ).format(number - 1)
    )


def _split_table(raw: Raw, table: str, number: int) -> None:
    old = raw.execute(
        "SELECT c.oid, c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = %s::regclass ORDER BY c.relname",
        (f"public.{table}",),
    ).fetchall()
    model = likeness(raw, *old[0])
    raw.execute(sql.SQL("DROP TABLE {}").format(_names(name for _, name in old)))
    for bucket in range(number):
        name = table_of(table, bucket, number)
        created = sql.SQL(
            "CREATE TABLE {} PARTITION OF {} FOR VALUES WITH (MODULUS {}, REMAINDER {})"
        ).format(sql.Identifier(name), sql.Identifier(table), number, bucket)
        raw.execute(sql.SQL("; ").join([created, *map(sql.SQL, model.of(name))]))


def _modulus(raw: Raw) -> int:
    (number,) = raw.execute(_MODULUS).fetchone() or (0,)
    return int(number)


def _names(tables: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, tables))


def _raw(connection: Connection) -> Raw:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    return raw
