"""Each step of a replay and of a promotion, in the interleaving that it exists for."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine import candidate as catching_up
from eventstore.engine import promote as promoting
from eventstore.engine import refresh as refreshing
from eventstore.engine import replay as replaying
from eventstore.engine.projection import Projection
from eventstore.engine.quarantine import quarantined
from eventstore.engine.refresh import Refreshed
from eventstore.engine.replay import BucketReplayed
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import (
    HISTORY,  # was HISTORY
    ORDERS,
)
from eventstore.orders.events import OrderShipped
from eventstore.orders.order import OrderState
from tests.buckets import BUCKETS, part
from tests.engine.standing import before_call, begin, differences
from tests.shipped import RULES, preview, refresh, replay_bucket
from tests.shipped import promote_projection as promote

Connection = psycopg.Connection[Any]


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
def observer(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def paid(at: int = 1_000) -> dict[str, Any]:
    return {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}, "created_at": at}


SHIPPED = {"type": "OrderShipped", "data": {}, "created_at": 2_000}


def append_orders(connection: Connection, number: int, *told: dict[str, Any]) -> list[UUID]:
    orders = [uuid4() for _ in range(number)]
    for order in orders:
        append_json(connection, order, list(told or (paid(),)))
    return orders


def order_of(connection: Connection, bucket: int) -> UUID:
    """A new order that lives in the bucket."""
    while True:
        order = uuid4()
        if connection.execute("SELECT order_bucket(%s)", (order,)).fetchone() == (bucket,):
            return order


def replay(connection: Connection, **options: Any) -> list[BucketReplayed]:
    return [replay_bucket(connection, bucket, **options) for bucket in range(BUCKETS)]


def _fails(_state: OrderState, _event: OrderShipped, _at: datetime) -> None:
    raise ZeroDivisionError


POISONED = replace(ORDERS, foldings=(replace(RULES, rules=dict(RULES.rules) | {OrderShipped: _fails}),))


# A bucket


def test_two_replays_of_a_bucket_take_turns(
    connection: Connection,
    other: Connection,
    observer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    append_json(connection, order_of(connection, 3), [paid()])
    second: list[Future[BucketReplayed]] = []
    before_call(
        monkeypatch,
        replaying,
        "horizon",
        1,
        lambda: second.append(begin(threads, observer, other, lambda: replay_bucket(other, 3))),
    )
    assert replay_bucket(connection, 3).rows == 1
    assert second[0].result(30).rows == 1
    assert connection.execute("SELECT count(*) FROM orders_candidate").fetchone() == (1,)


def test_a_bucket_holds_all_events_up_to_its_watermark_and_none_above(
    connection: Connection, other: Connection
) -> None:
    order = order_of(connection, 3)
    append_json(connection, order, [paid()])
    connection.execute("SELECT publish_horizon()")
    with other.transaction():
        append_json(other, order_of(connection, 3), [paid()])
        append_json(connection, order, [SHIPPED])
        replayed = replay_bucket(connection, 3)
        assert differences(connection, part("orders_candidate", 3), replayed.watermark) == []
    assert connection.execute("SELECT version FROM orders_candidate").fetchall() == [(1,)]
    replayed = replay_bucket(connection, 3)
    assert differences(connection, part("orders_candidate", 3), replayed.watermark) == []


def test_a_replay_holds_what_was_committed_before_it_though_nobody_has_read_since(
    connection: Connection,
) -> None:
    append_json(connection, order_of(connection, 3), [paid()])
    assert replay_bucket(connection, 3).events == 1


def test_a_bucket_can_be_replayed_again_with_what_came_since_and_nothing_twice(
    connection: Connection,
) -> None:
    order = order_of(connection, 3)
    append_json(connection, order, [paid(), SHIPPED])
    assert replay_bucket(connection, 3, POISONED).quarantined == 1
    assert quarantined(connection, "orders_candidate") == {order}
    append_json(connection, order_of(connection, 3), [paid()])
    again = replay_bucket(connection, 3)
    assert (again.events, again.rows, again.quarantined) == (3, 2, 0)
    assert quarantined(connection, "orders_candidate") == set()
    rows = connection.execute("SELECT version FROM orders_candidate ORDER BY version")
    assert rows.fetchall() == [(1,), (2,)]


def test_a_bucket_that_is_being_replayed_stands_no_more_until_it_is_done(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion at this moment neither takes it nor waits for it."""
    append_orders(connection, 20)
    replay(connection)
    found: list[object] = []
    other.execute("SET lock_timeout = '3s'")
    before_call(monkeypatch, replaying, "horizon", 1, lambda: found.append(promote(other)))
    replay_bucket(connection, 3)
    assert found == [None]
    assert promote(connection) is not None
    assert differences(connection) == []


# Catching up


def test_a_promotion_brings_all_buckets_to_the_watermark_of_the_one_that_is_furthest(
    connection: Connection,
) -> None:
    """A bucket that was replayed again lies above the live table and above the others."""
    first, second = order_of(connection, 3), order_of(connection, 2)
    for order in (first, second):
        append_json(connection, order, [paid()])
    refresh(connection)
    replay(connection)
    for order in (second, first):
        append_json(connection, order, [SHIPPED])
    replay_bucket(connection, 3)
    promoted = promote(connection)
    assert promoted is not None
    newest = connection.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    assert newest == (promoted.watermark,)  # an event, so that it can be missed
    assert promoted.caught_up >= 1
    assert differences(connection) == []
    assert connection.execute("SELECT version FROM orders").fetchall() == [(2,), (2,)]


@pytest.mark.parametrize("projection", [ORDERS, HISTORY], ids=["orders", "order_history"])
def test_an_event_that_a_bucket_holds_already_is_not_folded_again_when_the_others_catch_up(
    connection: Connection, projection: Projection[Any]
) -> None:
    ahead, behind = order_of(connection, 3), order_of(connection, 2)
    for order in (ahead, behind):
        append_json(connection, order, [paid()])
    replay(connection, projection=projection)
    for order in (ahead, behind):
        append_json(connection, order, [paid()])
    replay_bucket(connection, 3, projection)
    assert promote(connection, projection) is not None
    now = "" if projection is ORDERS else " WHERE recorded_to = 'infinity'"
    rows = connection.execute(f"SELECT paid_amount::text, version FROM {projection.name}{now}")
    assert rows.fetchall() == [("2.00", 2), ("2.00", 2)]


def test_a_promotion_takes_nothing_back_that_the_live_table_has_seen(connection: Connection) -> None:
    orders = append_orders(connection, 20)
    replay(connection)
    for order in orders:
        append_json(connection, order, [SHIPPED])
    live = refresh(connection)
    promoted = promote(connection)
    assert promoted is not None
    assert promoted.watermark == live.watermark
    assert (promoted.added, promoted.changed, promoted.gone) == (0, 0, 0)
    assert differences(connection) == []


def test_what_came_during_a_replay_is_caught_up_chunk_by_chunk(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = append_orders(connection, 5)
    replay(connection)
    for order in orders:
        append_json(connection, order, [SHIPPED])
    refresh(connection)
    monkeypatch.setattr(catching_up, "_CHUNK", 2)
    promoted = promote(connection)
    assert promoted is not None
    assert promoted.caught_up == 5
    assert differences(connection) == []


def test_a_preview_compares_at_the_watermark_that_is_furthest(connection: Connection) -> None:
    """Neither a bucket that is ahead nor a live table that is behind is a difference of the rules."""
    first, second = order_of(connection, 3), order_of(connection, 2)
    for order in (first, second):
        append_json(connection, order, [paid()])
    refresh(connection)
    replay(connection)
    for order in (second, first):
        append_json(connection, order, [SHIPPED])
    replay_bucket(connection, 3)
    found = preview(connection)
    assert found is not None
    assert found.differences == 0
    assert differences(connection) == []


# Promoting


def test_of_two_promotions_at_once_the_second_finds_nothing_to_do(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_orders(connection, 20)
    replay(connection)
    found: list[object] = []
    before_call(monkeypatch, promoting, "lock", 1, lambda: found.append(promote(other)))
    assert promote(connection) is None
    assert found != [None]
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (20,)


def test_no_bucket_is_replayed_while_it_is_being_promoted(
    connection: Connection,
    other: Connection,
    observer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    append_orders(connection, 20)
    replay(connection)
    again: list[Future[BucketReplayed]] = []

    def replay_and_look() -> None:
        again.append(begin(threads, observer, other, lambda: replay_bucket(other, 3)))
        assert not again[0].done()

    before_call(monkeypatch, promoting, "catch_up", 1, replay_and_look)
    assert promote(connection) is not None
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (20,)
    again[0].result(30)
    assert connection.execute("SELECT bucket FROM replay_buckets").fetchall() == [(3,)]


def test_a_promotion_waits_for_a_refresh_that_is_under_way(
    connection: Connection,
    other: Connection,
    observer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    orders = append_orders(connection, 20)
    refresh(connection)
    replay(connection)
    for order in orders:
        append_json(connection, order, [SHIPPED])
    promoted: list[Future[Any]] = []
    before_call(
        monkeypatch,
        refreshing,
        "advance",
        1,
        lambda: promoted.append(begin(threads, observer, other, lambda: promote(other))),
    )
    live = refresh(connection)
    assert promoted[0].result(30).watermark == live.watermark
    assert differences(connection) == []


def test_a_refresh_waits_for_a_promotion_that_is_under_way(
    connection: Connection,
    other: Connection,
    observer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    append_orders(connection, 20)
    replay(connection)
    append_orders(connection, 5)
    refreshed: list[Future[Refreshed]] = []
    before_call(
        monkeypatch,
        promoting,
        "catch_up",
        1,
        lambda: refreshed.append(begin(threads, observer, other, lambda: refresh(other))),
    )
    assert promote(connection) is not None
    refreshed[0].result(30)
    assert differences(connection) == []
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (25,)


def test_after_a_promotion_the_quarantine_is_that_of_the_promoted_rules(connection: Connection) -> None:
    """What the live rules failed on is no more, what the promoted ones fail on is."""
    newer = replace(POISONED, foldings=(replace(POISONED.current, version="newer"),))  # type: ignore[type-var]
    shipped = append_orders(connection, 1, paid(), SHIPPED)
    connection.execute("INSERT INTO projections (name, fold_version) VALUES ('orders', 'newer')")
    refresh(connection, newer)
    assert quarantined(connection, "orders") == set(shipped)
    replay(connection)
    assert promote(connection) is not None
    assert quarantined(connection, "orders") == set()
    replay(connection, projection=newer)
    assert promote(connection, newer) is not None
    assert quarantined(connection, "orders") == set(shipped)
    assert quarantined(connection, "orders_candidate") == set()


def test_a_promotion_writes_only_rows_that_differ_and_takes_away_what_nothing_stands_for(
    connection: Connection,
) -> None:
    orders = append_orders(connection, 20)
    refresh(connection)
    replay(connection)
    connection.execute("UPDATE orders SET paid_amount = 9 WHERE order_id = %s", (orders[0],))
    connection.execute("DELETE FROM orders WHERE order_id = %s", (orders[1],))
    connection.execute("UPDATE orders SET order_id = gen_random_uuid() WHERE order_id = %s", (orders[2],))
    promoted = promote(connection)
    assert promoted is not None
    assert (promoted.added, promoted.changed, promoted.gone) == (2, 1, 1)
    assert differences(connection) == []


@pytest.mark.parametrize("projection", [ORDERS, HISTORY], ids=lambda each: str(each.name))
def test_a_dump_that_reads_the_candidate_keeps_neither_a_replay_nor_a_promotion_waiting(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch, projection: Projection[Any]
) -> None:
    monkeypatch.setattr(catching_up, "_PATIENCE", "10ms")
    append_orders(connection, 20)
    usual = connection.execute("SHOW lock_timeout").fetchone()
    with other.transaction():
        other.execute(f"LOCK TABLE {projection.candidate} IN ACCESS SHARE MODE")
        for _ in range(2):
            rows = sum(replay_bucket(connection, n, projection).rows for n in range(BUCKETS))
            assert rows == 20
        promoted = promote(connection, projection)
    assert promoted is not None
    assert promoted.added == 20
    assert connection.execute(f"SELECT count(*) FROM {projection.candidate}").fetchone() == (0,)
    assert connection.execute(f"SELECT count(*) FROM {projection.name}").fetchone() == (20,)
    replay_bucket(connection, 0, projection)
    assert connection.execute("SHOW lock_timeout").fetchone() == usual


def test_a_promotion_is_written_as_a_whole_or_not_at_all(connection: Connection) -> None:
    append_orders(connection, 20)
    replay(connection)
    connection.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$; "
        "CREATE TRIGGER full_disk BEFORE DELETE ON replay_buckets EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises(psycopg.errors.DiskFull):
        promote(connection)
    assert differences(connection) == []
    connection.execute("DROP TRIGGER full_disk ON replay_buckets")
    assert promote(connection) is not None
    assert differences(connection) == []
