"""state(order, at) of real orders, oddities included, equals a fold of the lines of the file made here."""

import random
from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg

from eventstore.log.append import append_json
from tests.shipped import build_snapshots, refresh_stale, stale_days, state

STATUS = ["OrderCancelled", "OrderDelivered", "OrderShipped", "OrderPaid", "OrderCreated"]  # the first wins

Line = dict[str, Any]


def folded(lines: list[Line], at: str) -> dict[str, Any] | None:
    """Times in the file are all of one form, so they compare as text."""
    told = [line for line in lines if line["time"] <= at]
    if not told:
        return None
    by_type = {line["type"]: line for line in told}  # no order has two events of one type
    created = by_type.get("OrderCreated", {"data": {}})["data"]
    return {
        "status": next(kind for kind in STATUS if kind in by_type).removeprefix("Order"),
        "customer_id": UUID(created["customer_id"]) if created else None,
        "amount": Decimal(created["amount"]) if created else None,
        "paid_amount": Decimal(by_type["OrderPaid"]["data"]["amount"]) if "OrderPaid" in by_type else 0,
        "last_event_at": datetime.fromisoformat(max(line["time"] for line in told)),
    }


def is_odd(lines: list[Line]) -> bool:
    """Cancelled, out of the usual order, or with two events at one time."""
    times = {line["type"]: line["time"] for line in lines}
    usual = ["OrderCreated", "OrderPaid", "OrderShipped", "OrderDelivered"]
    in_order = [times[kind] for kind in usual if kind in times]
    return "OrderCancelled" in times or any(a >= b for a, b in pairwise(in_order))


def test_the_state_of_real_orders_at_any_time(
    connection: psycopg.Connection[Any], olist_lines: list[Line]
) -> None:
    chance = random.Random(2016)
    lines: defaultdict[str, list[Line]] = defaultdict(list)
    for line in olist_lines:
        lines[line["subject"]].append(line)
    odd = [order for order in lines if is_odd(lines[order])]
    usual = sorted(set(lines) - set(odd))
    orders = chance.sample(odd, 260) + chance.sample(usual, 260)
    assert len(odd) > 1_000

    def append(order: str, told: list[Line]) -> None:
        events = [{"type": line["type"], "data": line["data"], "created_at": line["time"]} for line in told]
        append_json(connection, UUID(order), events)

    def ask() -> None:
        for order in orders:
            times = [line["time"] for line in lines[order]]
            near = datetime.fromisoformat(chance.choice(times))
            for at in (near + timedelta(seconds=chance.choice([-1, 0, 0, 1, 86_400])), datetime(2030, 1, 1)):
                found = state(connection, UUID(order), at=at)
                expected = folded(lines[order], f"{at:%Y-%m-%dT%H:%M:%S}Z")
                assert (found and {name: getattr(found, name) for name in expected or ()}) == expected

    late: dict[str, list[Line]] = {}
    for order in orders[::2]:  # half of them arrive out of order, and some of the events after the snapshots
        chance.shuffle(lines[order])
        late[order] = lines[order][2:]
        append(order, lines[order][:2])
    for order in orders[1::2]:
        append(order, lines[order])
    first, last = date(2016, 9, 1), date(2018, 10, 31)
    build_snapshots(connection, first, last)
    for order, told in late.items():
        append(order, told)
    assert len(stale_days(connection)) > 100
    ask()  # stale snapshots are passed over
    refresh_stale(connection)
    assert stale_days(connection) == []
    ask()
    connection.execute("TRUNCATE order_snapshots, order_checkpoints")
    ask()  # and without any
