"""Each step of a refresh, in the interleaving that it exists for."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from eventstore.engine import refresh as refreshing
from eventstore.engine.projection import Projection
from eventstore.engine.quarantine import quarantined
from eventstore.engine.refresh import Refreshed
from eventstore.engine.standing import advance, lock, watermark
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection, sibling
from eventstore.log.feed import newest_up_to
from eventstore.orders.domain import HISTORY, ORDERS
from eventstore.orders.events import OrderPaid, OrderShipped
from eventstore.orders.order import OrderState
from tests.engine.standing import before_call, begin, differences
from tests.log.pausing import is_blocked, set_clock, until
from tests.log.sessions import drop_logins, make_login
from tests.shipped import RULES, current, refresh, refresh_daily_metrics, refresh_history, refresh_stale

Connection = psycopg.Connection[Any]


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def paid(at: int = 1_000) -> dict[str, Any]:
    return {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}, "created_at": at}


def shipped(at: int = 1_000) -> dict[str, Any]:
    return {"type": "OrderShipped", "data": {}, "created_at": at}


def append_orders(connection: Connection, number: int, *told: dict[str, Any]) -> list[UUID]:
    orders = [uuid4() for _ in range(number)]
    for order in orders:
        append_json(connection, order, list(told or (paid(),)))
    return orders


def _fails(_state: OrderState, _event: OrderShipped, _at: datetime) -> None:
    raise ZeroDivisionError


def corrected(amount: str, at: int) -> dict[str, Any]:
    data = {"amount": amount, "currency": "EUR"}
    return {"type": "OrderAmountCorrected", "created_at": at, "data": data}


def _paid_twice(state: OrderState, event: OrderPaid, _at: datetime) -> None:
    state.paid_amount += 2 * event.amount


DOUBLED = replace(RULES, version="newer", rules=dict(RULES.rules) | {OrderPaid: _paid_twice})
POISONED = replace(ORDERS, foldings=(replace(RULES, rules=dict(RULES.rules) | {OrderShipped: _fails}),))


@pytest.mark.parametrize(("table", "event"), [("orders", "INSERT"), ("projections", "UPDATE OF watermark")])
def test_rows_and_watermark_are_written_together_or_not_at_all(
    connection: Connection, table: str, event: str
) -> None:
    append_orders(connection, 3)
    refresh(connection)
    append_orders(connection, 3)
    connection.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$; "
        f"CREATE TRIGGER full_disk BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises(psycopg.errors.DiskFull):
        refresh(connection)
    assert quarantined(connection, "orders") == set()
    assert differences(connection) == []
    connection.execute(f"DROP TRIGGER full_disk ON {table}")
    assert refresh(connection).events == 3
    assert differences(connection) == []


def test_a_refresh_that_waited_for_another_goes_on_from_where_that_one_ended(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_orders(connection, 5)
    done: list[Refreshed] = []
    before_call(
        monkeypatch, refreshing, "lock_to_go_on", 2, lambda: done.append(refresh(other))
    )  # the first heals
    mine = refresh(connection)
    assert (done[0].events, mine.events) == (5, 0)
    assert differences(connection) == []


def test_a_second_refresh_waits_until_the_first_has_committed(
    connection: Connection,
    database_url: str,
    other: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    append_orders(connection, 5)
    second: list[Future[Refreshed]] = []
    with open_connection(database_url) as observer:
        before_call(
            monkeypatch,
            refreshing,
            "advance",
            1,
            lambda: second.append(begin(threads, observer, other, lambda: refresh(other))),
        )
        first = refresh(connection)
    assert (first.events, second[0].result(30).events) == (5, 0)
    assert differences(connection) == []


@pytest.mark.parametrize(
    ("read_model", "again"),
    [("orders", refresh), ("order_history", refresh_history), ("order_snapshots", refresh_stale)],
)
def test_what_was_appended_and_taken_in_while_a_refresh_waited_is_not_taken_for_lost(
    connection: Connection,
    database_url: str,
    other: Connection,
    threads: ThreadPoolExecutor,
    read_model: str,
    again: Callable[[Connection], object],
) -> None:
    """A statement that waits for a row sees its newest version, but the log as of when it began."""
    append_orders(connection, 1)
    again(connection)
    with open_connection(database_url) as observer:
        with connection.transaction():
            lock(connection, read_model)
            second = begin(threads, observer, other, lambda: again(other))
            append_orders(observer, 1)
            newest = newest_up_to(connection, UUID(int=2**128 - 1))
            advance(connection, read_model, newest)
        second.result(30)
    assert watermark(connection, read_model) == newest


def test_a_refresh_waits_while_another_one_heals(
    connection: Connection,
    database_url: str,
    other: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    """Or what it folded meanwhile would be overwritten by a fold up to the watermark before."""
    (order,) = append_orders(connection, 1, paid(), shipped())
    refresh(connection, POISONED)
    append_json(connection, order, [paid(2_000)])
    second: list[Future[Refreshed]] = []
    with open_connection(database_url) as observer:
        before_call(
            monkeypatch,
            refreshing,
            "refold",
            1,
            lambda: second.append(begin(threads, observer, other, lambda: refresh(other))),
        )
        refresh(connection)
    second[0].result(30)
    assert differences(connection) == []
    assert connection.execute("SELECT version, status FROM orders").fetchall() == [(3, "Shipped")]


def test_an_order_that_is_healed_holds_no_event_above_the_watermark(
    connection: Connection, other: Connection
) -> None:
    (order,) = append_orders(connection, 1, paid(), shipped())
    refresh(connection, POISONED)
    with other.transaction():
        append_orders(other, 1)
        append_json(connection, order, [paid(2_000)])
        refresh(connection)
        assert quarantined(connection, "orders") == set()
        assert differences(connection) == []
        assert connection.execute("SELECT version FROM orders").fetchall() == [(2,)]
    refresh(connection)
    assert differences(connection) == []


def test_an_order_that_is_folded_again_for_a_late_event_holds_no_event_above_the_watermark(
    connection: Connection, other: Connection
) -> None:
    (order,) = append_orders(connection, 1, paid(5_000))
    refresh(connection)
    append_json(connection, order, [paid(4_000)])
    connection.execute("SELECT publish_horizon()")
    with other.transaction():
        append_orders(other, 1)
        append_json(connection, order, [paid(6_000)])
        assert refresh(connection).refolded == 1
        assert differences(connection) == []
        assert connection.execute("SELECT version FROM orders").fetchall() == [(2,)]
    refresh(connection)
    assert differences(connection) == []


def test_a_refresh_leaves_what_lies_above_an_open_append(connection: Connection, other: Connection) -> None:
    append_orders(connection, 1)
    connection.execute("SELECT publish_horizon()")
    with other.transaction():
        append_orders(other, 1)
        append_orders(connection, 1)
        assert refresh(connection).events == 1
    assert refresh(connection).events == 2
    assert differences(connection) == []


def test_a_refresh_takes_in_all_that_was_committed_before_it_chunk_by_chunk(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_orders(connection, 7, paid(), shipped())
    monkeypatch.setattr(refreshing, "_CHUNK", 3)
    assert refresh(connection).events == 14
    assert differences(connection) == []


def test_a_chunk_that_was_read_ahead_is_let_go_where_another_refresh_has_folded_it(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_orders(connection, 7, paid(), shipped())
    monkeypatch.setattr(refreshing, "_CHUNK", 3)
    meanwhile: list[int] = []
    third = 3  # the first is for healing, the second for the first chunk
    before_call(
        monkeypatch, refreshing, "lock_to_go_on", third, lambda: meanwhile.append(refresh(other).events)
    )
    folded = refresh(connection)
    assert folded.events + sum(meanwhile) == 14
    assert meanwhile[0] > 0
    assert folded.lag.events == 0
    assert differences(connection) == []


@pytest.mark.parametrize("chunk", [3, 4])
def test_a_read_ahead_whose_connection_is_lost_is_read_by_the_first(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """At each chunk anew: the connection that takes its place is lost, too."""
    append_orders(connection, 7, paid(), shipped())
    monkeypatch.setattr(refreshing, "_CHUNK", chunk)
    lost: list[int] = []

    def losing(one: Connection) -> Connection:
        made = sibling(one)
        lost.append(made.info.backend_pid)
        assert connection.execute("SELECT pg_terminate_backend(%s, 10000)", (lost[-1],)).fetchone() == (True,)
        return made

    monkeypatch.setattr(refreshing, "sibling", losing)
    assert refresh(connection).events == 14
    assert len(lost) > 1
    assert differences(connection) == []


def test_where_there_is_no_room_for_a_second_connection_chunks_are_read_by_the_first(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_orders(connection, 7)
    monkeypatch.setattr(refreshing, "_CHUNK", 3)
    login = make_login(connection, "crowded", "eventstore_projector")
    try:
        connection.execute(f"ALTER ROLE {login} CONNECTION LIMIT 1")
        with open_connection(make_conninfo(database_url, user=login, password="hush")) as only:
            assert refresh(only).events == 7
    finally:
        drop_logins(connection)
    assert differences(connection) == []


def test_events_of_a_chunk_are_folded_by_business_time_not_by_version(connection: Connection) -> None:
    corrected = {
        "type": "OrderAmountCorrected",
        "created_at": 3_000,
        "data": {"amount": "3.00", "currency": "EUR"},
    }
    earlier = corrected | {"created_at": 2_000, "data": {"amount": "2.00", "currency": "EUR"}}
    append_orders(connection, 1, corrected, earlier)
    refresh(connection)
    assert connection.execute("SELECT amount::text FROM orders").fetchall() == [("3.00",)]


def test_two_refreshes_of_a_derived_table_at_once_count_each_payment_once(
    connection: Connection, database_url: str, other: Connection, threads: ThreadPoolExecutor
) -> None:
    append_orders(connection, 5)
    refresh(connection)
    refresh_daily_metrics(connection)
    append_orders(connection, 3)
    refresh(connection)
    with open_connection(database_url) as holder, open_connection(database_url) as third:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE daily_payments IN SHARE MODE")
        both = [threads.submit(refresh_daily_metrics, session) for session in (other, third)]
        until(lambda: all(is_blocked(connection, session.info.backend_pid) for session in (other, third)))
        holder.execute("COMMIT")
        for each in both:
            each.result(30)
    assert connection.execute("SELECT sum(revenue)::text FROM daily_order_metrics").fetchall() == [("8.00",)]


def test_a_second_refresh_of_a_derived_table_waits_until_the_first_knows_where_it_stands(
    connection: Connection, database_url: str, other: Connection, threads: ThreadPoolExecutor
) -> None:
    """Or both would add the payments since the same watermark."""
    append_orders(connection, 5)
    refresh(connection)
    second: list[Future[object]] = []

    class Stepping(psycopg.Connection[Any]):
        def execute(self, query: Any, *given: Any, **named: Any) -> Any:
            done = super().execute(query, *given, **named)
            if not second and str(query).endswith("FOR UPDATE"):
                second.append(begin(threads, connection, other, lambda: refresh_daily_metrics(other)))
            return done

    with Stepping.connect(database_url, autocommit=True) as first:
        refresh_daily_metrics(first)
    second[0].result(30)
    assert connection.execute("SELECT sum(revenue)::text FROM daily_order_metrics").fetchall() == [("5.00",)]


@pytest.mark.parametrize("projection", [ORDERS, HISTORY], ids=["orders", "order_history"])
def test_an_order_whose_rules_are_gone_is_folded_again_as_a_whole_by_those_that_there_are(
    connection: Connection, projection: Projection[Any]
) -> None:
    (order,) = append_orders(connection, 1)
    refresh(connection, projection)
    append_json(connection, order, [paid(2_000)])
    refresh(connection, replace(projection, foldings=(DOUBLED,)))
    rows = connection.execute(
        f"SELECT max(paid_amount)::text, max(version) FROM {projection.name} WHERE fold_version = 'newer'"
    )
    assert rows.fetchall() == [("4.00", 2)]


@pytest.mark.parametrize("projection", [ORDERS, HISTORY], ids=["orders", "order_history"])
def test_an_order_with_a_late_event_is_folded_again_by_business_time(
    connection: Connection, projection: Projection[Any]
) -> None:
    (order,) = append_orders(connection, 1, corrected("3.00", 3_000))
    refresh(connection, projection)
    append_json(connection, order, [corrected("2.00", 2_000)])
    state_now = current(connection, order)
    assert state_now is not None
    assert state_now.amount == Decimal("3.00")
    refresh(connection, projection)
    now = "" if projection is ORDERS else " WHERE recorded_to = 'infinity' AND valid_to = 'infinity'"
    assert connection.execute(f"SELECT amount::text FROM {projection.name}{now}").fetchall() == [("3.00",)]


def test_what_one_millisecond_recorded_is_learned_at_once_however_short_a_chunk_is(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(connection, 1_900_000_000_000)
    orders = append_orders(connection, 2, paid(1_000), paid(2_000), paid(3_000))
    monkeypatch.setattr(refreshing, "_CHUNK", 2)
    refresh(connection, HISTORY)
    for order in orders:
        rows = connection.execute(
            "SELECT paid_amount::text FROM order_history WHERE order_id = %s ORDER BY valid_from", (order,)
        )
        assert rows.fetchall() == [("1.00",), ("2.00",), ("3.00",)]


def test_a_derived_table_takes_no_payment_that_orders_does_not_have_yet(connection: Connection) -> None:
    append_orders(connection, 2)
    refresh(connection)
    append_orders(connection, 3)
    for expected in ("2.00", "5.00"):
        refresh_daily_metrics(connection)
        assert connection.execute("SELECT sum(revenue)::text FROM daily_order_metrics").fetchall() == [
            (expected,)
        ]
        refresh(connection)
