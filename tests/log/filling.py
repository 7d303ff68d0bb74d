"""A row in every table, made up by the types of its columns: what a migration must cope with and keep."""

from typing import Any

import psycopg
from psycopg import sql

#: By type: a value for the column of a number; times rise with it, so that periods are not empty.
_VALUES = {
    "uuid": "gen_random_uuid()",
    "text": "'x'",
    "name": "'x'",
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "numeric": "1",
    "boolean": "false",
    "bytea": "'x'",
    "jsonb": "'{{}}'",
    "text[]": "'{{}}'",
    "interval": "interval '1 minute'",
    "date": "date '2026-01-01' + {number}",
    "timestamp with time zone": "timestamptz '2026-01-01' + {number} * interval '1 hour'",
}
_TABLES = """
    SELECT c.oid::regclass::text FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.relnatts > 0
     ORDER BY 1"""
#: What has no value of its own.
_COLUMNS = """
    SELECT a.attname, regexp_replace(format_type(a.atttypid, NULL), '\\(.*', ''), a.attnum, a.attnotnull
      FROM pg_attribute a
     WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.atthasdef
       AND a.attidentity = '' AND a.attgenerated = ''"""


def fill(connection: psycopg.Connection[Any]) -> list[str]:
    """Put a row into every empty table of an autocommit connection; the names of those that take none."""
    return [
        table
        for table, rows in counts(connection).items()
        if not rows and not (_put(connection, table, all_columns=True) or _put(connection, table))
    ]


def counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """How many rows each table has."""
    found = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
        (found[table],) = connection.execute(query).fetchone() or (0,)
    return found


def _put(connection: psycopg.Connection[Any], table: str, *, all_columns: bool = False) -> bool:
    columns = {
        name: _VALUES[type_].format(number=number)
        for name, type_, number, required in connection.execute(_COLUMNS, (table,)).fetchall()
        if (required or all_columns) and type_ in _VALUES
    }
    if not columns:
        query = sql.SQL("INSERT INTO {} DEFAULT VALUES").format(sql.Identifier(table))
    else:
        query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.SQL, columns.values())),
        )
    try:
        with connection.transaction():
            connection.execute(query)
    except psycopg.Error:
        return False
    return True
