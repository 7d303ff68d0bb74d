"""Logs of any size, made by the server itself; for benchmarks only."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from eventstore.log.connection import Connection, open_connection

EVENTS_PER_ORDER = 3.9
_SQL = (Path(__file__).parent / "generate.sql").read_text(encoding="utf-8")
_SLICE = 50_000  # orders of one statement
_DAY_MS = 86_400_000
_SPAN_MS = 365 * _DAY_MS
_BASE_MS = int(time.time() * 1000) - _SPAN_MS - 30 * _DAY_MS  # all of it lies in the past

_INSERT = """
    INSERT INTO order_events
           (id, order_id, version, event_type, event_data, created_at, source, source_id, metadata)
    SELECT uuidv7_at(arrived, counter::int), order_id, version, event_type, event_data, happened,
           source, source_id, metadata
      FROM (SELECT *, row_number() OVER (PARTITION BY order_id ORDER BY arrived, source_id) AS version,
                   row_number() OVER (ORDER BY arrived, order_id, source_id) AS counter
              FROM pg_temp.generated(%s, %s, %s, %s)) e
     ORDER BY arrived"""

_STAGE = """
    INSERT INTO pg_temp.staged_events
           (line, order_id, event_type, event_data, created_at, source, source_id, metadata)
    SELECT row_number() OVER (ORDER BY arrived), order_id, event_type, event_data, happened,
           source, source_id, metadata
      FROM (SELECT * FROM pg_temp.generated(%(first)s, %(last)s, %(now)s - 1000, 1000)
            UNION ALL
            SELECT md5('order ' || (random() * (%(first)s - 1))::bigint)::uuid, 'OrderAmountCorrected',
                   '{"amount": "19.90", "currency": "EUR", "reason": "voucher"}', %(now)s + 31536000000,
                   %(now)s, '/shop/service', 'voucher/' || gen_random_uuid(), '{}'
              FROM generate_series(1, %(existing)s)) e"""


def fill(url: str, events: int) -> int:
    """Fill an empty log with about that many events, inserted as its owner; returns how many there are.

    The indexes are dropped meanwhile and built at the end.
    """
    orders = max(1, round(events / EVENTS_PER_ORDER))
    slices = [(first, min(first + _SLICE, orders) - 1) for first in range(0, orders, _SLICE)]
    with open_connection(url) as connection:
        rebuild = _drop_indexes(connection)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda numbers: _insert(url, orders, *numbers), slices))
        connection.execute("SET maintenance_work_mem = '512MB'")
        for statement in rebuild:
            connection.execute(statement)
        connection.execute("VACUUM ANALYZE order_events")
        connection.execute("CHECKPOINT")
        (count,) = connection.execute("SELECT count(*) FROM order_events").fetchone() or (0,)
    return int(count)


def extend(connection: Connection, orders: int, events: int) -> tuple[int, int]:
    """Append about ``events`` events as a load does, half of them to some of the ``orders`` that exist.

    Returns how many it appended, and how many orders there are now.
    """
    connection.execute(_SQL.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    appended = 0
    while appended < events:
        chunk = min(10_000, events - appended)
        new_orders = max(1, round(chunk / 2 / EVENTS_PER_ORDER))
        numbers = {"first": orders, "last": orders + new_orders - 1, "now": int(time.time() * 1000)}
        with connection.transaction():
            connection.execute("SELECT open_staging()")
            staged = connection.execute(_STAGE, {**numbers, "existing": max(1, chunk // 2)}).rowcount
            outcomes = connection.execute("SELECT outcome FROM append_staged()").fetchall()
        appended += staged - len(outcomes)
        orders += new_orders
    return appended, orders


def _insert(url: str, orders: int, first: int, last: int) -> None:
    begin = _BASE_MS + _SPAN_MS * first // orders
    end = _BASE_MS + _SPAN_MS * (last + 1) // orders
    with open_connection(url) as connection:
        connection.execute("SET work_mem = '256MB'")
        connection.execute(_SQL)
        connection.execute("SET eventstore.restoring = 'on'")  # ids of the past, on purpose
        connection.execute(_INSERT, (first, last, begin, end - begin))


def _drop_indexes(connection: Connection) -> list[str]:
    """Returns the statements that make them again."""
    rows = connection.execute(
        "SELECT i.indexrelid::regclass::text, c.conname, pg_get_indexdef(i.indexrelid), "
        "       pg_get_constraintdef(c.oid) "
        "FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid "
        # Those of the whole log, and those that each bucket has of its own.
        "WHERE i.indrelid IN (SELECT relid FROM pg_partition_tree('order_events')) "
        "AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) ORDER BY i.indrelid"
    ).fetchall()
    rebuild = []
    for index, constraint, index_definition, constraint_definition in rows:
        if constraint:
            connection.execute(f"ALTER TABLE order_events DROP CONSTRAINT {constraint}")
            rebuild.append(f"ALTER TABLE order_events ADD CONSTRAINT {constraint} {constraint_definition}")
        else:
            connection.execute(f"DROP INDEX {index}")
            rebuild.append(index_definition.replace(" ON ONLY ", " ON "))
    return rebuild
