"""Steps of the history and the snapshots, and what a table refuses, each in the case that it exists for."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine.history import row_per_span
from eventstore.engine.history.overlaps import overlaps
from eventstore.engine.quarantine import quarantined
from eventstore.engine.refresh import Refreshed
from eventstore.engine.snapshots import build as snapshots
from eventstore.engine.snapshots.build import SnapshotsRefreshed
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from tests.engine.standing import before_call, begin
from tests.shipped import build_snapshots, refresh, refresh_history, refresh_stale

Connection = psycopg.Connection[Any]
MONDAY = date(2026, 3, 2)
MONDAY_MS = 1_772_409_600_000


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
    with ThreadPoolExecutor(1) as pool:
        yield pool


def paid(at: int = MONDAY_MS) -> dict[str, Any]:
    return {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}, "created_at": at}


def append_orders(connection: Connection, number: int, *told: dict[str, Any]) -> list[UUID]:
    orders = [uuid4() for _ in range(number)]
    for order in orders:
        append_json(connection, order, list(told or (paid(),)))
    return orders


def standing(connection: Connection, table: str) -> dict[UUID, int]:
    """The last version that the table holds of each order."""
    return dict(connection.execute(f"SELECT order_id, max(version) FROM {table} GROUP BY 1").fetchall())


@pytest.mark.parametrize(
    ("table", "brought_up"),
    [("orders", refresh), ("order_history", refresh_history)],
    ids=["orders", "history"],
)
@pytest.mark.parametrize("seen_before", [0, 2, 5])
def test_an_order_whose_row_the_table_refuses_shows_what_it_takes_and_the_others_all(
    connection: Connection, table: str, brought_up: Callable[[Connection], Refreshed], seen_before: int
) -> None:
    connection.execute(f"ALTER TABLE {table} ADD CHECK (paid_amount < 5)")
    (rich,) = append_orders(connection, 1, *[paid()] * seen_before)
    if seen_before:
        brought_up(connection)
    append_json(connection, rich, [paid()] * (6 - seen_before))
    others = append_orders(connection, 5, paid(), paid())
    brought_up(connection)
    assert quarantined(connection, table) == {rich}
    assert standing(connection, table) == {rich: 4} | dict.fromkeys(others, 2)
    assert brought_up(connection).rows == 0


def test_rows_of_the_history_that_somebody_changes_meanwhile_are_not_built_upon(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = append_orders(connection, 1)
    refresh_history(connection)
    append_json(connection, order, [paid(MONDAY_MS + 1)])
    before_call(monkeypatch, row_per_span, "_close", 1, lambda: other.execute("DELETE FROM order_history"))
    with pytest.raises(RuntimeError, match="was changed by somebody else"):
        refresh_history(connection)


def test_a_late_event_and_later_ones_in_one_chunk_are_learned_in_the_order_of_the_feed(
    connection: Connection,
) -> None:
    (order,) = append_orders(connection, 1, paid(MONDAY_MS + 10), paid(MONDAY_MS + 20))
    refresh_history(connection)
    append_json(connection, order, [paid(MONDAY_MS + 5)])
    append_json(connection, order, [paid(MONDAY_MS + 15), paid(MONDAY_MS + 30)])
    refresh_history(connection)
    stands = connection.execute(
        "SELECT paid_amount::int FROM order_history WHERE recorded_to = 'infinity' ORDER BY valid_from"
    )
    assert [paid_amount for (paid_amount,) in stands] == [1, 2, 3, 4, 5]
    assert overlaps(connection) == []


def test_a_refresh_of_the_snapshots_waits_for_another(
    connection: Connection,
    other: Connection,
    observer: Connection,
    monkeypatch: pytest.MonkeyPatch,
    threads: ThreadPoolExecutor,
) -> None:
    orders = append_orders(connection, 3)
    refresh(connection)
    build_snapshots(connection, MONDAY, MONDAY)
    for order in orders:
        append_json(connection, order, [paid()])
    second: list[Future[SnapshotsRefreshed]] = []
    before_call(
        monkeypatch,
        snapshots,
        "_list_changed",
        1,
        lambda: second.append(begin(threads, observer, other, lambda: refresh_stale(other))),
    )
    assert refresh_stale(connection).orders == 3
    assert second[0].result(30).orders == 0
    assert standing(connection, "order_snapshots") == dict.fromkeys(orders, 2)


@pytest.mark.parametrize(
    ("table", "event"), [("order_snapshots", "INSERT"), ("projections", "UPDATE OF watermark")]
)
def test_snapshots_and_their_watermark_are_written_together_or_not_at_all(
    connection: Connection, table: str, event: str
) -> None:
    orders = append_orders(connection, 3)
    refresh(connection)
    build_snapshots(connection, MONDAY, MONDAY)
    for order in orders:
        append_json(connection, order, [paid()])
    connection.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE disk_full; END $$; "
        f"CREATE TRIGGER full_disk BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()"
    )
    with pytest.raises(psycopg.errors.DiskFull):
        refresh_stale(connection)
    assert standing(connection, "order_snapshots") == dict.fromkeys(orders, 1)
    connection.execute(f"DROP TRIGGER full_disk ON {table}")
    assert refresh_stale(connection).orders == 3
    assert standing(connection, "order_snapshots") == dict.fromkeys(orders, 2)


def test_a_day_that_is_built_holds_no_event_above_an_open_append(
    connection: Connection, other: Connection
) -> None:
    (order,) = append_orders(connection, 1)
    connection.execute("SELECT publish_horizon()")
    with other.transaction():
        append_orders(other, 1)
        append_json(connection, order, [paid()])
        build_snapshots(connection, MONDAY, MONDAY)
        assert standing(connection, "order_snapshots") == {order: 1}
    refresh_stale(connection)
    assert set(standing(connection, "order_snapshots").values()) == {1, 2}
