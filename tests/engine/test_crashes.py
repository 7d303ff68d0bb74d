"""kill -9 in the middle of a refresh, a replay and a promotion: run again, the tables equal the log."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.log.append import append_json
from tests.buckets import BUCKETS, part
from tests.killing import kill_when_it_waits_for_a_lock, running
from tests.shipped import promote_projection as promote
from tests.shipped import refresh, replay_bucket

CHUNKED_REFRESH = """
import sys
from eventstore.log.connection import open_connection
from eventstore.engine import refresh
from eventstore.orders.domain import ORDERS
refresh._CHUNK = 10
refresh.refresh(open_connection(sys.argv[1], application_name="victim"), ORDERS)
"""
REPLAY = """
import sys
from eventstore.log.connection import open_connection
from tests.buckets import BUCKETS
from tests.shipped import replay_bucket
for bucket in range(BUCKETS):
    replay_bucket(open_connection(sys.argv[1], application_name="victim"), bucket)
"""
PROMOTION = """
import sys
from eventstore.log.connection import open_connection
from tests.shipped import promote_projection as promote
promote(open_connection(sys.argv[1], application_name="victim"))
"""


def append_orders(connection: psycopg.Connection[Any], number: int) -> None:
    paid = {"type": "OrderPaid", "data": {"amount": "2.50", "currency": "EUR"}}
    for _ in range(number):
        append_json(connection, uuid4(), [paid, {"type": "OrderShipped", "data": {}}])


def summary(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT status, version, paid_amount::text, count(*) FROM orders GROUP BY 1, 2, 3 ORDER BY 1"
    ).fetchall()


def test_a_refresh_killed_between_two_chunks_is_redone_not_doubled(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    append_orders(connection, 3)
    refresh(connection)
    append_orders(connection, 47)
    kill_when_it_waits_for_a_lock(CHUNKED_REFRESH, database_url, connection, "orders")
    assert summary(connection) == [("Shipped", 2, "2.50", 3)]
    assert refresh(connection).events == 94
    assert summary(connection) == [("Shipped", 2, "2.50", 50)]


def test_a_replay_killed_in_a_bucket_leaves_readers_alone_and_is_made_whole_by_a_retry(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    append_orders(connection, 60)
    refresh(connection)
    kill_when_it_waits_for_a_lock(REPLAY, database_url, connection, part("orders_candidate", 3))
    standing = connection.execute("SELECT array_agg(bucket ORDER BY bucket) FROM replay_buckets").fetchone()
    assert standing == (list(range(3)),)
    assert promote(connection) is None
    assert summary(connection) == [("Shipped", 2, "2.50", 60)]
    for bucket in range(3, BUCKETS):
        replay_bucket(connection, bucket)
    promoted = promote(connection)
    assert promoted is not None
    assert (promoted.added, promoted.changed, promoted.gone) == (0, 0, 0)


@pytest.mark.parametrize("table", ["orders", "replay_buckets"])
def test_a_promotion_killed_in_the_middle_leaves_all_of_the_old_rows(
    connection: psycopg.Connection[Any], database_url: str, table: str
) -> None:
    append_orders(connection, 60)
    refresh(connection)
    connection.execute("UPDATE orders SET status = 'Wrong'")
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket)
    kill_when_it_waits_for_a_lock(PROMOTION, database_url, connection, table)
    assert summary(connection) == [("Wrong", 2, "2.50", 60)]
    assert promote(connection) is not None
    assert summary(connection) == [("Shipped", 2, "2.50", 60)]


def test_two_refreshes_at_once_fold_every_event_once(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    append_orders(connection, 100)
    with running(CHUNKED_REFRESH, database_url) as one, running(CHUNKED_REFRESH, database_url) as two:
        assert (one.wait(60), two.wait(60)) == (0, 0)
    assert summary(connection) == [("Shipped", 2, "2.50", 100)]
