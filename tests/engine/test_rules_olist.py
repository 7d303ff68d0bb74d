"""A change of the rules on real orders: one cancelled after it was shipped counts as returned."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import psycopg

from eventstore.log.connection import open_connection
from eventstore.orders.domain import ORDERS
from eventstore.orders.order import OrderState, status_of
from tests.buckets import BUCKETS
from tests.killing import kill_when_it_waits_for_a_lock, until
from tests.shipped import RULES, ingest, preview, refresh, replay_bucket
from tests.shipped import promote_projection as promote


def returned_status(state: OrderState) -> str:
    if "cancelled_after_shipped" in state.anomalies:
        return "Returned"
    return status_of(state)


RETURNS = replace(ORDERS, foldings=(RULES, replace(RULES, version="newer", status=returned_status)))
PROMOTION = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_rules_olist import RETURNS, open_connection, promote
promote(open_connection(sys.argv[1], application_name="victim"), RETURNS, by_hand=True)
"""
#: An order is shipped once and cancelled once at most.
QUERY = """
SELECT shipped.order_id FROM order_events shipped JOIN order_events cancelled USING (order_id)
 WHERE shipped.event_type = 'OrderShipped' AND cancelled.event_type = 'OrderCancelled'
   AND (shipped.created_at, shipped.version) < (cancelled.created_at, cancelled.version)
"""


def statuses(connection: psycopg.Connection[Any]) -> Counter[str]:
    return Counter(dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY 1").fetchall()))


def test_the_preview_names_the_orders_and_readers_see_all_of_the_old_or_all_of_the_new(
    connection: psycopg.Connection[Any],
    database_url: str,
    shared_data: Path,
    olist_lines: list[dict[str, Any]],
) -> None:
    told = [(line["type"], UUID(line["subject"]), (line["time"], n)) for n, line in enumerate(olist_lines)]
    shipped = {order: when for kind, order, when in told if kind == "OrderShipped"}
    cancelled = {order: when for kind, order, when in told if kind == "OrderCancelled"}
    expected = {order for order in cancelled if order in shipped and shipped[order] < cancelled[order]}
    assert len(expected) > 50

    ingest(connection, [shared_data / "olist" / "events.ndjson.gz"])
    refresh(connection)
    old = statuses(connection)
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, RETURNS, for_preview=True)
    found = preview(connection, RETURNS, sample=1_000)
    assert found is not None
    assert {order for (order,) in connection.execute(QUERY)} == expected
    assert {pair.order_id for pair in found.sample} == expected
    assert (found.added, found.gone, found.changed) == (0, 0, len(expected))
    assert found.columns == {"status": len(expected)}
    assert all(total.before == total.after for total in found.totals)
    assert statuses(connection) == old

    seen: list[Counter[str]] = []
    done = Event()

    def poll() -> None:
        with open_connection(database_url) as reader:
            while not done.is_set():
                seen.append(statuses(reader))

    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(poll)
        try:
            # Locked out of what a promotion writes after the rows, it is killed.
            kill_when_it_waits_for_a_lock(PROMOTION, database_url, connection, "quarantine")
            assert statuses(connection) == old
            assert promote(connection, RETURNS, by_hand=True) is not None
            read = len(seen)
            until(lambda: len(seen) >= read + 2)
        finally:
            done.set()
        polling.result()
    new = old - Counter(Cancelled=len(expected)) + Counter(Returned=len(expected))
    assert new["Returned"] == len(expected)
    assert statuses(connection) == new
    assert seen[0] == old
    assert seen[-1] == new
    assert all(found in (old, new) for found in seen)
