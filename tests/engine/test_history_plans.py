"""Questions to the history of a million events go through its indexes."""

from datetime import UTC, datetime, timedelta
from hashlib import md5
from itertools import product
from typing import Any
from uuid import UUID

import psycopg

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

# The history as refreshes leave it behind: of each event what was known from then on, until the next event of
# the order was recorded, and what has been known since. Events are recorded a second after they happen.
FILL = """
INSERT INTO order_history
SELECT order_id, NULL, 10.50, 'EUR', 'Paid', 10.50, 0, began, began, NULL, NULL, NULL, NULL, version,
       order_id, began, '{}', '{}', NULL, began, CASE WHEN closed THEN ended ELSE 'infinity' END,
       CASE WHEN closed THEN ended ELSE began END + interval '1 second',
       CASE WHEN closed THEN 'infinity' ELSE ended + interval '1 second' END
  FROM (SELECT md5(n::text)::uuid AS order_id, version,
               %(start)s + n * interval '1 minute' + version * %(pause)s AS began,
               CASE WHEN version < %(events)s
                    THEN %(start)s + n * interval '1 minute' + (version + 1) * %(pause)s
                    ELSE 'infinity' END AS ended
          FROM generate_series(%(first)s::int, %(last)s::int) AS n,
               generate_series(1, %(events)s::int) AS version) AS spans,
       (VALUES (false), (true)) AS closing(closed)
 WHERE NOT (closed AND ended = 'infinity')
 ORDER BY CASE WHEN closed THEN ended ELSE began END
"""
LONG_STREAM, ORDERS = 0, 225_000


def order(n: int) -> UUID:
    return UUID(md5(str(n).encode(), usedforsecurity=False).hexdigest())


def fill(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SET work_mem = '1GB'")
    connection.execute("ALTER TABLE order_history DROP CONSTRAINT order_history_pkey")
    for first, last, events, pause in [
        (1, ORDERS, 4, 9 * HOUR),
        (LONG_STREAM, LONG_STREAM, 100_000, HOUR / 60),
    ]:
        connection.execute(
            FILL, {"start": START, "first": first, "last": last, "events": events, "pause": pause}
        )
    connection.execute("ALTER TABLE order_history ADD PRIMARY KEY (order_id, recorded_to, valid_from)")
    connection.execute("RESET work_mem")
    connection.execute("VACUUM ANALYZE order_history")


def plan(connection: psycopg.Connection[Any], query: str, parameters: Any) -> tuple[set[str], int, int]:
    """How the query was run: its scans, the pages that it touched, the rows that it returned."""
    explained = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", parameters)
    ((found,),) = explained.fetchall()
    top = found[0]["Plan"]
    scans: set[str] = set()

    def visit(node: dict[str, Any]) -> None:
        if "Scan" in node["Node Type"] and node["Node Type"] not in {"Subquery Scan", "Values Scan"}:
            scans.add(f"{node['Node Type']} {node.get('Index Name', '')}".strip())
        for child in node.get("Plans", []):
            visit(child)

    visit(top)
    return scans, top["Shared Hit Blocks"] + top["Shared Read Blocks"], top["Actual Rows"]


def test_at_a_million_events_the_questions_are_answered_through_indexes(
    connection: psycopg.Connection[Any],
) -> None:
    fill(connection)
    key = {"Index Scan order_history_pkey"}
    backward = {*key, "Index Scan Backward order_history_pkey"}
    (pages,) = connection.execute(
        "SELECT pg_relation_size('order_history') / current_setting('block_size')::int"
    ).fetchone() or (0,)

    # One order: the WHERE reaches the index through the function.
    at = START + 100 * DAY
    scans, touched, rows = plan(
        connection, "SELECT * FROM orders_as_of(%s, %s) WHERE order_id = %s", (at, at, order(77_777))
    )
    assert (scans, rows) == (key, 1)
    assert touched < 20

    # A join: one probe for each of the other side's rows.
    some = [order(n) for n in range(1_000, 101_000, 1_000)]
    scans, touched, rows = plan(
        connection,
        "SELECT * FROM unnest(%s::uuid[]) AS asked(order_id) JOIN orders_as_of(%s, %s) USING (order_id)",
        (some, at, at),
    )
    assert (scans, rows) == ({*key, "Function Scan"}, 100)
    assert touched < 20 * len(some)

    # One order among 100,000 events: a handful of pages, whatever is asked.
    ends = [START - DAY, START + DAY, START + 35 * DAY, START + 69 * DAY, START + 99 * DAY]
    for at, known in product(ends, ends):
        scans, touched, rows = plan(
            connection, "SELECT * FROM order_as_of(%s, %s, %s)", (order(LONG_STREAM), at, known)
        )
        assert scans <= backward
        assert rows == (at > START < known)
        assert touched < 20, (at, known)

    # All orders at an early moment: what came later is not read.
    for moments in [(START + 2 * DAY, START + 400 * DAY), (START + 400 * DAY, START + 2 * DAY)]:
        scans, touched, rows = plan(connection, "SELECT * FROM orders_as_of(%s, %s)", moments)
        assert scans == {"Bitmap Index Scan order_history_times", "Bitmap Heap Scan"}
        assert rows > 2_000
        assert touched < pages / 10
