"""Following the log: an append is in every table a moment later; one at a time; nothing is lost by a kill."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.engine.follow import AlreadyFollowedError, Pass, follow, follower
from eventstore.engine.projection import Projection
from eventstore.engine.refresh import refresh
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import DOMAIN
from tests.killing import running

Connection = psycopg.Connection[Any]
CREATED = {
    "type": "OrderCreated",
    "data": {"customer_id": str(UUID(int=1)), "amount": "2.00", "currency": "EUR"},
}
PAID = {"type": "OrderPaid", "data": {"amount": "2.00", "currency": "EUR"}}
FOLLOW = """
import sys
from threading import Event
from eventstore.engine.projection import Projection
from eventstore.engine.refresh import refresh
from eventstore.engine.follow import follow
from eventstore.log.connection import open_connection
from eventstore.orders.domain import DOMAIN
follow(open_connection(sys.argv[1], application_name="victim"), DOMAIN, Event())
"""


@contextmanager
def following(url: str, passes: list[Pass] | None = None) -> Iterator[None]:
    stop, begun = Event(), Event()
    told = passes if passes is not None else []
    with open_connection(url) as connection, ThreadPoolExecutor(1) as thread:
        done = thread.submit(follow, connection, DOMAIN, stop, told.append, begun.set)
        try:
            assert begun.wait(30)
            yield
        finally:
            stop.set()
            done.result(60)


def eventually(ask: Callable[[], bool]) -> None:
    wait = retry(retry=retry_if_result(lambda yes: not yes), wait=wait_fixed(0.02), stop=stop_after_delay(60))
    wait(ask)()


def one(connection: Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _is(connection: Connection, query: str, value: object) -> bool:
    return bool(one(connection, query) == value)


def test_an_append_is_in_every_table_without_a_refresh(connection: Connection, database_url: str) -> None:
    order = uuid4()
    with following(database_url):
        append_json(connection, order, [CREATED, PAID])
        status = "SELECT status FROM {} WHERE order_id = %s"
        eventually(lambda: one(connection, status.format("orders"), order) == "Paid")
        current = status.format("order_history") + " AND valid_to = 'infinity'"
        eventually(lambda: one(connection, current, order) == "Paid")
        eventually(lambda: one(connection, "SELECT lifetime_value FROM customers") == 2)
        append_json(connection, order, [PAID])
        eventually(lambda: one(connection, "SELECT lifetime_value FROM customers") == 4)
        eventually(lambda: one(connection, "SELECT sum(revenue) FROM daily_order_metrics") == 4)


def test_there_is_one_follower_at_a_time_and_it_can_be_seen(
    connection: Connection, database_url: str
) -> None:
    assert follower(connection) is None
    with following(database_url):
        found = follower(connection)
        assert found is not None
        assert found.since is not None
        with pytest.raises(AlreadyFollowedError, match=f"session {found.pid}"):
            follow(connection, DOMAIN, Event())
    assert follower(connection) is None


def test_what_waits_for_an_open_append_follows_when_that_has_ended(
    connection: Connection, database_url: str
) -> None:
    held, later = uuid4(), uuid4()
    with following(database_url), psycopg.connect(database_url) as writer:
        with writer.transaction():
            append_json(writer, held, [PAID])
            [second] = append_json(connection, later, [PAID])
            count = "SELECT count(*) FROM orders"
            # The one that came later is not shown before the one that is still open.
            published = "SELECT last_value >= uuidv7_ms(%s) FROM feed_horizon"
            eventually(lambda: bool(one(connection, published, second.id)))
            assert one(connection, count) == 0
        eventually(lambda: one(connection, count) == 2)


def test_killed_in_the_middle_it_is_followed_by_another_and_nothing_is_lost_or_doubled(
    connection: Connection, database_url: str
) -> None:
    orders = [uuid4() for _ in range(20)]
    for kill in range(3):
        with running(FOLLOW, database_url) as victim:
            for order in orders:
                append_json(connection, order, [PAID])
            eventually(partial(_is, connection, "SELECT max(version) FROM orders", kill + 1))
            victim.kill()
            victim.wait(30)
    for order in orders:
        append_json(connection, order, [PAID])
    with following(database_url):
        amounts = "SELECT count(*) FROM orders WHERE paid_amount = 8 AND version = 4"
        eventually(lambda: one(connection, amounts) == len(orders))


@pytest.mark.parametrize("table", ["orders", "order_history"])
def test_an_error_in_either_session_ends_both(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    original = refresh

    def fails(connection: Connection, projection: Projection[Any]) -> Any:
        if projection.name == table:
            raise ZeroDivisionError
        return original(connection, projection)

    monkeypatch.setattr("eventstore.engine.follow.refresh", fails)
    append_json(connection, uuid4(), [PAID])
    with open_connection(database_url) as own, pytest.raises(ZeroDivisionError):
        follow(own, DOMAIN, Event())
    assert follower(connection) is None
