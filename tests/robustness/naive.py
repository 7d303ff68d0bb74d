"""Good orders, and what they amount to: a fold that shares no code with the project."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

#: The currency of good orders alone, so that their sums stand apart from those of bad ones.
CURRENCY = "XTS"

_STATUS = {
    "OrderCancelled": "Cancelled",
    "OrderDelivered": "Delivered",
    "OrderShipped": "Shipped",
    "OrderPaid": "Paid",
    "OrderCreated": "Created",
}
_AMOUNTS = ("OrderCreated", "OrderAmountCorrected", "OrderPaid", "OrderRefunded")
_DAY_MS = 86_400_000


class Given(NamedTuple):
    """An event as a producer gives it."""

    type: str
    at: int  #: business time, ms since 1970
    amount: str = "0.00"
    customer: UUID = UUID(int=7)
    currency: str = CURRENCY


class Outcome(NamedTuple):
    """What an order amounts to."""

    status: str
    amount: Decimal | None
    paid: Decimal
    refunded: Decimal
    version: int


def naive(events: Sequence[Given]) -> Outcome:
    """The fold, in five lines."""
    said = [(e.type, Decimal(e.amount)) for e in sorted(events, key=lambda e: e.at)]
    created, corrected, paid, refunded = ([a for t, a in said if t == kind] for kind in _AMOUNTS)
    amount = (corrected[-1:] + created[:1] + [None])[0]
    status = next((name for kind, name in _STATUS.items() if kind in dict(said)), "Unknown")
    return Outcome(status, amount, sum(paid, Decimal(0)), sum(refunded, Decimal(0)), len(events))


def lifetime_values(orders: dict[UUID, list[Given]]) -> dict[UUID, tuple[int, Decimal]]:
    """Of each customer: how many orders, and what was paid for them and not refunded."""
    values: dict[UUID, tuple[int, Decimal]] = {}
    for events in orders.values():
        for placed in [e for e in sorted(events, key=lambda e: e.at) if e.type == "OrderCreated"][:1]:
            number, value = values.get(placed.customer, (0, Decimal(0)))
            now = naive(events)
            values[placed.customer] = (number + 1, value + now.paid - now.refunded)
    return values


def revenue_by_day(orders: dict[UUID, list[Given]]) -> dict[int, Decimal]:
    """Of each day since 1970: the sum of the payments."""
    days: dict[int, Decimal] = {}
    for event in (event for events in orders.values() for event in events if event.type == "OrderPaid"):
        days[event.at // _DAY_MS] = days.get(event.at // _DAY_MS, Decimal(0)) + Decimal(event.amount)
    return days


def as_json(event: Given) -> dict[str, Any]:
    """As append_events() takes it."""
    data = {"amount": event.amount, "currency": event.currency} if event.type in _AMOUNTS else {}
    if event.type == "OrderCreated":
        data["customer_id"] = str(event.customer)
    return {"type": event.type, "data": data, "created_at": event.at}


def as_line(order: UUID, number: int, event: Given) -> bytes:
    """As a line of a file."""
    envelope = {
        "specversion": "1.0",
        "source": "/good",
        "id": str(number),
        "type": event.type,
        "subject": str(order),
        "time": datetime.fromtimestamp(event.at / 1000, UTC).isoformat(timespec="milliseconds"),
        "data": as_json(event)["data"],
    }
    return json.dumps(envelope).encode()
