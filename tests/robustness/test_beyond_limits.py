"""What no strategy for JSON comes up with: deep, huge, long, many; known types with bad payloads."""

import json
import time
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.robustness.everything import done, run, run_everything
from tests.robustness.naive import Given
from tests.robustness.senders import append, append_good, writer
from tests.robustness.strategies import TYPES
from tests.shipped import refresh

CREATED, PAID = Given("OrderCreated", 1000, "5.00"), Given("OrderPaid", 2000, "3.00")
ELSEWHERE = [CREATED._replace(currency="EUR"), PAID._replace(currency="EUR")]
MONEY = '"amount": "1.00", "currency": "EUR"'


def event(data: str, event_type: str = "OrderPaid", metadata: str = "{}", at: str = "null") -> str:
    return (
        f'[{{"type": {json.dumps(event_type)}, "data": {data}, "metadata": {metadata}, "created_at": {at}}}]'
    )


def nested(depth: int, opened: str = '{"x":', closed: str = "}") -> str:
    return opened * depth + "1" + closed * depth


#: As JSON texts of the argument of append_events().
HOSTILE = [
    *(event(f'{{{MONEY}, "x": {nested(depth)}}}') for depth in (98, 99, 100, 150, 2_000, 20_000)),
    *(event(f'{{{MONEY}, "x": {nested(depth, "[", "]")}}}') for depth in (99, 1_000, 5_000)),
    *(
        event(f'{{{MONEY}, "x": {number}}}')
        for number in ("1e308", "1e309", "-1e20000", "1e-390", "1e-20000")
    ),
    *(event(f'{{{MONEY}, "x": {"9" * digits}}}') for digits in (308, 309, 5_000, 200_000)),
    event(f'{{{MONEY}, "x": 0.{"1" * 390}}}'),
    event(f'{{{MONEY}, "x": "{"y" * 1_040_000}"}}'),
    event(f'{{{MONEY}, "x": "{"y" * 1_100_000}"}}'),
    event(f'{{{MONEY}, "x": "{"💥" * 260_000}"}}'),
    event(f"{{{MONEY}, {', '.join(f'{json.dumps(str(n))}: {n}' for n in range(50_000))}}}"),
    event(f'{{{MONEY}, "x": [{"[], " * 300_000}0]}}'),
    event('{"amount": "1.' + "0" * 20_000 + '", "currency": "EUR"}'),
    event('{"amount": "' + "9" * 20_000 + '", "currency": "EUR"}'),
    *(event(f"{{{MONEY}}}", metadata=f'{{"x": {nested(depth)}}}') for depth in (99, 100, 2_000)),
    *(
        event(f"{{{MONEY}}}", metadata=f'{{"schema_version": {version}}}')
        for version in (
            "0",
            "1",
            "2",
            "3",
            "1.0",
            "2.5",
            '"2"',
            '"02"',
            "true",
            "null",
            "{}",
            "1e3",
            "9999999999",
        )
    ),
    *(
        event(f"{{{MONEY}}}", name)
        for name in (
            "OrderPaid vX",
            "OrderPaid v2",
            "OrderPaid v" + "9" * 150,
            "a\nb",
            "\x1b[31m",
            "x" * 200,
            "💥" * 200,
        )
    ),
    *(event(f"{{{MONEY}}}", at=at) for at in ("253402300799999", "-62135596800000", "1e20000", '"infinity"')),
    *(event(f"{{{MONEY}}}", at=f'"{year}-01-01"') for year in ("0001", "9999", "99999")),
    "[" * 20_000 + "]" * 20_000,
    '{"x":' * 20_000,
    "null",
    '"x"',
]
#: For each known type.
BAD_PAYLOADS = [
    "{}",
    '{"amount": "1.00"}',
    '{"amount": "1.00", "currency": 5}',
    '{"amount": "1.00", "currency": "eur"}',
    '{"amount": "1.00", "currency": "EUR", "customer_id": "nobody"}',
    '{"amount": "1.00", "currency": "EUR", "customer_id": "00000000-0000-0000-0000-00000000000x"}',
    '{"currency": "EUR"}',
    '{"reason": {"because": []}, "carrier": 1, "amount": "-0.01", "currency": "EUR"}',
    '{"estimated_delivery": "0000-00-00"}',
    '{"estimated_delivery": "9999-12-31T23:59:59-14:00", "tracking_number": []}',
]


@pytest.fixture
def good(database_url: str) -> dict[UUID, list[Given]]:
    """Good orders, in the log."""
    orders = {UUID(int=number): [CREATED, PAID] for number in range(1, 6)}
    with writer(database_url) as connection:
        for order, events in orders.items():
            append_good(connection, order, *events)
    return orders


def test_what_is_deep_huge_long_or_of_an_odd_version_harms_its_order_alone(
    database_url: str, good: dict[UUID, list[Given]]
) -> None:
    others: list[UUID] = []
    with writer(database_url) as connection:
        for events in HOSTILE:
            order = uuid4()
            append_good(connection, order, *ELSEWHERE)
            if append(connection, order, events):
                others.append(order)
    assert 10 < len(others) < len(HOSTILE) - 10
    run_everything(database_url, good, others)


def test_a_known_type_with_a_bad_payload_leaves_its_order_as_it_was_before(
    database_url: str, connection: psycopg.Connection[Any], good: dict[UUID, list[Given]]
) -> None:
    others: list[UUID] = []
    with writer(database_url) as sender:
        for event_type in TYPES:
            for payload in BAD_PAYLOADS:
                others.append(uuid4())
                append_good(sender, others[-1], *ELSEWHERE)
                assert append(sender, others[-1], event(payload, event_type, at="3000"))
                append_good(sender, others[-1], ELSEWHERE[1])
    run_everything(database_url, good, others)
    (quarantined,) = connection.execute(
        "SELECT count(*) FROM quarantine WHERE projection = 'orders'"
    ).fetchone() or (0,)
    assert 30 < quarantined <= len(others)
    wrong = connection.execute(
        "SELECT o.order_id, q.error, o.status, o.amount, o.paid_amount, o.version FROM quarantine q "
        "LEFT JOIN orders o USING (order_id) WHERE q.projection = 'orders' "
        "AND (o.status, o.amount, o.paid_amount) IS DISTINCT FROM ('Paid', 5.00, 6.00)"
    ).fetchall()
    assert wrong == []
    for order in others[:10]:
        ran = run(database_url, "show", order)
        assert "3" in ran.out + ran.err


def test_a_hundred_thousand_events_in_one_call_are_appended_and_folded(
    database_url: str, good: dict[UUID, list[Given]]
) -> None:
    crowded = uuid4()
    one = json.loads(event(f'{{{MONEY}, "reason": null}}', at="5"))
    with writer(database_url) as connection:
        assert append(connection, crowded, json.dumps(one * 100_000))
    done(database_url, "refresh")
    state = json.loads(done(database_url, "show", crowded, "--json"))
    assert (state["paid_amount"], state["version"]) == ("100000.00", 100_000)
    for order in good:
        assert json.loads(done(database_url, "show", order, "--json"))["status"] == "Paid"


def test_thousands_of_poisoned_orders_do_not_make_every_refresh_dear(
    database_url: str, connection: psycopg.Connection[Any], good: dict[UUID, list[Given]]
) -> None:
    connection.execute(
        "SELECT count(*) FROM generate_series(1, 5000) n, append_events(md5(n::text)::uuid, "
        """'[{"type": "OrderPaid", "data": {}}, {"type": "OrderPaid", "data": {"amount": "1.00"}}]')"""
    )
    refresh(connection)
    (before,) = connection.execute(
        "SELECT count(*) FROM quarantine WHERE projection = 'orders'"
    ).fetchone() or (0,)
    assert before == 5000
    started = time.monotonic()
    append_good(connection, UUID(int=1), PAID)
    refresh(connection)
    assert time.monotonic() - started < 10
    good[UUID(int=1)] = [CREATED, PAID, PAID]
    run_everything(database_url, good)
