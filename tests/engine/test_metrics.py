"""customers and daily_order_metrics equal sums made here, after late events and corrections too."""

import json
import random
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine.projection import Projection
from eventstore.log.append import append_json
from eventstore.orders.domain import ORDERS
from eventstore.orders.events import OrderShipped
from eventstore.orders.order import RULES_1
from tests.shipped import ingest, refresh, refresh_customers, refresh_daily_metrics, refresh_history

Database = psycopg.Connection[Any]
Line = dict[str, Any]

ALICE, BOB = UUID(int=1), UUID(int=2)


def created(at: str, amount: str = "10.00", customer: UUID = ALICE, currency: str = "EUR") -> dict[str, Any]:
    data = {"customer_id": str(customer), "amount": amount, "currency": currency}
    return {"type": "OrderCreated", "data": data, "created_at": at}


def money(kind: str, at: str, amount: str, currency: str = "EUR") -> dict[str, Any]:
    return {"type": kind, "data": {"amount": amount, "currency": currency}, "created_at": at}


def bare(kind: str, at: str) -> dict[str, Any]:
    return {"type": kind, "data": {}, "created_at": at}


COLUMNS = ["created", "paid", "shipped", "delivered", "cancelled", "revenue", "refunds"]


def metrics(connection: Database) -> dict[tuple[str, str], dict[str, Any]]:
    """By day and currency what is not zero, after a refresh of all that it is made from."""
    refresh(connection)
    refresh_daily_metrics(connection)
    rows = connection.execute(f"SELECT day, currency, {', '.join(COLUMNS)} FROM daily_order_metrics")
    return {
        (str(day), currency): {name: value for name, value in zip(COLUMNS, values, strict=True) if value}
        for day, currency, *values in rows
    }


def customers(connection: Database, day: str | None = None) -> dict[tuple[UUID, str], tuple[Any, ...]]:
    source = "customers" if day is None else f"customers_as_of('{day}')"
    rows = connection.execute(
        f"SELECT customer_id, currency, orders, lifetime_value, first_order_at, last_order_at FROM {source}"
    )
    return {(customer, currency): tuple(values) for customer, currency, *values in rows}


def test_each_thing_counts_on_the_utc_day_on_which_it_happened(connection: Database) -> None:
    append_json(
        connection,
        uuid4(),
        [
            created("2026-03-02T23:30:00-02:00"),
            money("OrderPaid", "2026-03-03T23:59:59.999Z", "4.00"),
            money("OrderPaid", "2026-03-04T00:00:00Z", "6.00"),
            bare("OrderShipped", "2026-03-04T10:00:00Z"),
            bare("OrderDelivered", "2026-03-05T10:00:00Z"),
            money("OrderRefunded", "2026-03-06T10:00:00Z", "2.50"),
        ],
    )
    append_json(connection, uuid4(), [created("2026-03-03"), bare("OrderCancelled", "2026-03-05")])
    assert metrics(connection) == {
        ("2026-03-03", "EUR"): {"created": 2, "paid": 1, "revenue": Decimal("4.00")},
        ("2026-03-04", "EUR"): {"shipped": 1, "revenue": Decimal("6.00")},
        ("2026-03-05", "EUR"): {"delivered": 1, "cancelled": 1},
        ("2026-03-06", "EUR"): {"refunds": Decimal("2.50")},
    }


def test_a_late_payment_moves_the_order_to_the_day_on_which_it_was_paid(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [created("2026-03-02"), money("OrderPaid", "2026-03-05", "10.00")])
    assert metrics(connection)["2026-03-05", "EUR"] == {"paid": 1, "revenue": Decimal("10.00")}
    append_json(connection, order, [money("OrderPaid", "2026-03-03", "1.00")])
    assert metrics(connection) == {
        ("2026-03-02", "EUR"): {"created": 1},
        ("2026-03-03", "EUR"): {"paid": 1, "revenue": Decimal("1.00")},
        ("2026-03-05", "EUR"): {"revenue": Decimal("10.00")},
    }


def test_the_currency_is_xxx_until_the_order_is_known(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [bare("OrderShipped", "2026-03-03")])
    assert metrics(connection) == {("2026-03-03", "XXX"): {"shipped": 1}}
    append_json(connection, order, [created("2026-03-02", currency="BRL")])
    assert metrics(connection) == {
        ("2026-03-02", "BRL"): {"created": 1},
        ("2026-03-03", "BRL"): {"shipped": 1},
    }


def test_old_payments_in_cents_count_in_full(connection: Database) -> None:
    payment = {"type": "OrderPaid", "data": {"amount": 1250, "currency": "EUR"}, "created_at": "2026-03-03"}
    append_json(connection, uuid4(), [payment | {"metadata": {"schema_version": 1}}])
    assert metrics(connection)["2026-03-03", "EUR"]["revenue"] == Decimal("12.50")


def test_a_refresh_without_news_writes_nothing_and_a_rebuild_finds_the_same(connection: Database) -> None:
    append_json(connection, uuid4(), [created("2026-03-02"), money("OrderPaid", "2026-03-05", "10.00")])
    before = metrics(connection)
    again = refresh_daily_metrics(connection)
    assert (again.written, again.gone, again.rows) == (0, 0, 2)
    connection.execute("UPDATE daily_order_metrics SET revenue = revenue + 1")  # damage
    refresh_daily_metrics(connection, rebuild=True)
    assert metrics(connection) == before
    refresh_customers(connection)
    again = refresh_customers(connection)
    assert (again.written, again.gone, again.rows) == (0, 0, 1)


@pytest.mark.parametrize("whose", ["orders", "daily_order_metrics"])
def test_a_watermark_that_somebody_moves_back_counts_no_payment_twice(
    connection: Database, whose: str
) -> None:
    append_json(connection, uuid4(), [created("2026-03-02"), money("OrderPaid", "2026-03-05", "10.00")])
    before = metrics(connection)
    connection.execute("UPDATE projections SET watermark = DEFAULT WHERE name = %s", (whose,))
    refresh_daily_metrics(connection)
    assert metrics(connection) == before


def test_lifetime_value_is_what_was_paid_less_what_was_refunded_per_currency(connection: Database) -> None:
    append_json(
        connection,
        uuid4(),
        [
            created("2026-03-02T08:00:00Z"),
            money("OrderPaid", "2026-03-02T09:00:00Z", "10.00"),
            money("OrderRefunded", "2026-03-04", "2.50"),
        ],
    )
    append_json(connection, uuid4(), [created("2026-03-05T08:00:00Z"), bare("OrderCancelled", "2026-03-06")])
    append_json(connection, uuid4(), [created("2026-03-03", "3.00", currency="USD")])
    append_json(connection, uuid4(), [bare("OrderShipped", "2026-03-03")])  # of nobody that is known
    refresh(connection)
    refresh_customers(connection)
    march = [datetime(2026, 3, day, 8, tzinfo=UTC) for day in range(1, 7)]
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    assert customers(connection) == {
        (ALICE, "EUR"): (2, Decimal("7.50"), march[1], march[4]),
        (ALICE, "USD"): (1, Decimal(0), midnight, midnight),
    }


def test_first_and_last_order_follow_when_an_extreme_leaves(connection: Database) -> None:
    orders = [uuid4() for _ in range(3)]
    for day, order in enumerate(orders, start=3):
        append_json(connection, order, [created(f"2026-03-0{day}")])
    march = {day: datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 6)}
    refresh(connection)
    refresh_customers(connection)
    assert customers(connection) == {(ALICE, "EUR"): (3, Decimal(0), march[3], march[5])}
    append_json(connection, orders[0], [created("2026-03-02", customer=BOB)])  # late, and so it counts
    append_json(connection, orders[2], [created("2026-03-01", currency="USD")])
    refresh(connection)
    refresh_customers(connection)
    assert customers(connection) == {
        (ALICE, "EUR"): (1, Decimal(0), march[4], march[4]),
        (ALICE, "USD"): (1, Decimal(0), march[1], march[1]),
        (BOB, "EUR"): (1, Decimal(0), march[2], march[2]),
    }


def test_payments_leave_with_their_order_into_quarantine_and_come_back_when_it_is_healed(
    connection: Database,
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    broken = replace(ORDERS, foldings=(replace(RULES_1, rules={**RULES_1.rules, OrderShipped: fails}),))

    def revenue(projection: Projection[Any] = ORDERS, *, rebuild: bool = False) -> dict[str, Decimal]:
        refresh(connection, projection)
        refresh_daily_metrics(connection, rebuild=rebuild)
        rows = connection.execute("SELECT day::text, revenue FROM daily_order_metrics WHERE revenue <> 0")
        return dict(rows.fetchall())

    order = uuid4()
    append_json(connection, uuid4(), [money("OrderPaid", "2026-03-05", "1.00")])
    append_json(connection, order, [money("OrderPaid", "2026-03-03", "2.00")])
    append_json(connection, order, [money("OrderPaid", "2026-03-05", "10.00")])
    assert revenue() == {"2026-03-03": Decimal("2.00"), "2026-03-05": Decimal("11.00")}
    append_json(
        connection, order, [bare("OrderShipped", "2026-03-04"), money("OrderPaid", "2026-03-05", "30.00")]
    )
    held = {"2026-03-03": Decimal("2.00"), "2026-03-05": Decimal("1.00")}
    assert revenue(broken) == held
    assert revenue(broken, rebuild=True) == held
    append_json(connection, order, [money("OrderPaid", "2026-03-03", "4.00")])  # before the one that fails
    assert revenue(broken) == held | {"2026-03-03": Decimal("6.00")}
    assert revenue() == {"2026-03-03": Decimal("6.00"), "2026-03-05": Decimal("41.00")}


def test_customers_as_of_a_day_are_those_at_its_end(connection: Database) -> None:
    append_json(
        connection, uuid4(), [created("2026-03-02T08:00:00Z"), money("OrderPaid", "2026-03-03", "5.00")]
    )
    append_json(
        connection, uuid4(), [created("2026-03-03T23:59:59.999Z"), created("2026-03-04", customer=BOB)]
    )
    refresh_history(connection)
    second, third = datetime(2026, 3, 2, 8, tzinfo=UTC), datetime(2026, 3, 3, 23, 59, 59, 999_000, tzinfo=UTC)
    assert customers(connection, "2026-03-01") == {}
    assert customers(connection, "2026-03-02") == {(ALICE, "EUR"): (1, Decimal(0), second, second)}
    assert customers(connection, "2026-03-03") == {(ALICE, "EUR"): (2, Decimal("5.00"), second, third)}


def test_an_order_that_turns_out_to_be_of_another_customer_leaves_the_first(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [created("2026-03-03")])
    refresh(connection)
    refresh_customers(connection)
    append_json(connection, order, [created("2026-03-02", customer=BOB)])
    refresh(connection)
    refreshed = refresh_customers(connection)
    assert (refreshed.written, refreshed.gone) == (1, 1)
    assert set(customers(connection)) == {(BOB, "EUR")}


def test_olist_in_two_loads_equals_sums_over_its_lines(
    connection: Database, olist_lines: list[Line], tmp_path: Path
) -> None:
    """The second load holds late events: a third of the events come with it, whatever their time."""
    chance = random.Random(2018)
    lines = [line for line in olist_lines if line["subject"] < "0a"]
    loads: list[list[Line]] = [[], []]
    for line in lines:
        loads[chance.random() < 1 / 3].append(line)
    for number, load in enumerate(loads):
        path = tmp_path / f"{number}.ndjson"
        path.write_text("".join(json.dumps(line) + "\n" for line in load))
        assert ingest(connection, [path]).rejected == 0
        metrics(connection)
        refresh_customers(connection)

    counts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    revenue: Counter[str] = Counter()
    told: defaultdict[str, dict[str, Line]] = defaultdict(dict)
    for line in lines:
        counts[line["time"][:10], "BRL"][line["type"].removeprefix("Order").lower()] += 1
        told[line["subject"]][line["type"]] = line
        if line["type"] == "OrderPaid":
            revenue[line["time"][:10]] += Decimal(line["data"]["amount"])  # type: ignore[assignment]
    expected = {
        key: dict(count) | ({"revenue": revenue[key[0]]} if revenue[key[0]] else {})
        for key, count in counts.items()
    }
    assert len(told) > 2_500
    assert metrics(connection) == expected

    def of_customers(until: str) -> dict[tuple[UUID, str], tuple[Any, ...]]:
        found: dict[tuple[UUID, str], tuple[Any, ...]] = {}
        for events in told.values():
            placed, payment = events["OrderCreated"], events.get("OrderPaid")
            if placed["time"] > until:
                continue
            at = datetime.fromisoformat(placed["time"])
            value = Decimal(payment["data"]["amount"]) if payment and payment["time"] <= until else Decimal(0)
            key = (UUID(placed["data"]["customer_id"]), "BRL")
            orders, total, first, last = found.get(key, (0, Decimal(0), at, at))
            found[key] = (orders + 1, total + value, min(first, at), max(last, at))
        return found

    assert customers(connection) == of_customers("9")
    refresh_history(connection)
    for day in (date(2017, 1, 15), date(2017, 11, 24), date(2018, 8, 1)):
        assert customers(connection, str(day)) == of_customers(f"{day}T23:59:59Z")
