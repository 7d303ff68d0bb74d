"""What becomes of an order, told a second time: plain Python over rows of the log, sharing no code with the
project. Slow, short, and written from the documentation.

An event is a dict with the columns of order_events; times are milliseconds, amounts Decimals.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Event = dict[str, Any]
Order = dict[str, Any]

_DAY = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KNOWN = {
    "OrderCreated",
    "OrderPaid",
    "OrderShipped",
    "OrderDelivered",
    "OrderCancelled",
    "OrderRefunded",
    "OrderAmountCorrected",
}
_WITHOUT_AMOUNT = {"OrderShipped", "OrderDelivered", "OrderCancelled"}
#: The first of these that is there says the status.
_STATUS = {
    "cancelled_at": "Cancelled",
    "delivered_at": "Delivered",
    "shipped_at": "Shipped",
    "paid_at": "Paid",
    "placed_at": "Created",
}


def in_fold_order(events: Iterable[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event["created_at"], event["version"]))


def states(events: Iterable[Event]) -> Iterator[tuple[Event, Order]]:
    """Each event that counts, and the order after it (one dict, which goes on changing). An order ends before
    the first event that the rules fail on."""
    order: Order = {
        **dict.fromkeys(("customer_id", "amount", "currency", *_STATUS, "refunded_at")),
        "status": "Unknown",
        "paid_amount": Decimal(0),
        "refunded_amount": Decimal(0),
        "version": 0,
        "anomalies": [],
        "unknown_events": [],
    }
    for event in in_fold_order(events):
        if fails(event):
            return
        _tell(order, event)
        order["status"] = next((name for at, name in _STATUS.items() if order[at] is not None), "Unknown")
        order["order_id"], order["last_event_at"] = event["order_id"], event["created_at"]
        if event["version"] > order["version"]:
            order["version"], order["last_event_id"] = event["version"], event["id"]
        yield event, order


def fold(events: Iterable[Event]) -> Order | None:
    """The order after its events; None where there is no event that counts."""
    order = None
    for _, order in states(events):  # noqa: B007 - the last one
        pass
    return order


def fails(event: Event) -> bool:
    """Whether the payload lacks what its type must have."""
    kind, data = event["event_type"], event["event_data"]
    if kind not in _KNOWN or kind in _WITHOUT_AMOUNT:
        return False
    if kind == "OrderCreated" and "customer_id" not in data:
        return True
    return "amount" not in data or not re.fullmatch("[A-Z]{3}", data.get("currency", ""))


def amount_of(event: Event) -> Decimal:
    """Integers are cents of payload version 1."""
    amount = event["event_data"]["amount"]
    return Decimal(amount) if isinstance(amount, str) else Decimal(amount) / 100


def _tell(order: Order, event: Event) -> None:  # noqa: PLR0912 - one list of rules to read
    data, at = event["event_data"], event["created_at"]

    def note(anomaly: str) -> None:
        if anomaly not in order["anomalies"]:
            order["anomalies"].append(anomaly)

    def first(name: str) -> None:
        if order[name] is None:
            order[name] = at

    created, paid, shipped = (order[name] is not None for name in ("placed_at", "paid_at", "shipped_at"))
    match event["event_type"]:
        case "OrderCreated" if created:
            note("created_twice")
        case "OrderCreated":
            order["placed_at"], order["customer_id"] = at, data["customer_id"]
            if order["amount"] is None:
                order["amount"], order["currency"] = amount_of(event), data["currency"]
        case "OrderPaid":
            if not created:
                note("paid_before_created")
            if paid:
                note("paid_twice")
            first("paid_at")
            order["paid_amount"] += amount_of(event)
        case "OrderShipped":
            if not created:
                note("shipped_before_created")
            if not paid:
                note("shipped_before_paid")
            if order["cancelled_at"] is not None:
                note("shipped_after_cancelled")
            first("shipped_at")
        case "OrderDelivered":
            if not shipped:
                note("delivered_before_shipped")
            first("delivered_at")
        case "OrderCancelled":
            if shipped:
                note("cancelled_after_shipped")
            first("cancelled_at")
        case "OrderRefunded":
            first("refunded_at")
            order["refunded_amount"] += amount_of(event)
            if order["refunded_amount"] > order["paid_amount"]:
                note("refunded_more_than_paid")
        case "OrderAmountCorrected":
            if not created:
                note("amount_corrected_before_created")
            order["amount"], order["currency"] = amount_of(event), data["currency"]
        case other:
            order["unknown_events"] += [] if other in order["unknown_events"] else [other]


def recorded_ms(event: Event) -> int:
    """The first 48 bits of its id."""
    return int(event["id"].replace("-", "")[:12], 16)


def as_of(events: Iterable[Event], at: int, known: int) -> Order | None:
    """As it was ``at``, as we knew it at ``known``."""
    return fold(event for event in events if event["created_at"] <= at and recorded_ms(event) <= known)


def day_of(ms: int) -> str:
    """The business day, which is a day of UTC."""
    return (_EPOCH + timedelta(days=ms // _DAY)).date().isoformat()


class Customers:
    """By customer and currency: how many orders, what they brought, the first and the last."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, ...], dict[str, Any]] = {}

    def add(self, order: Order) -> None:
        if order["customer_id"] is None:
            return
        placed = order["placed_at"]
        row = self.rows.setdefault(
            (order["customer_id"], order["currency"]),
            {"orders": 0, "lifetime_value": Decimal(0), "first_order_at": placed, "last_order_at": placed},
        )
        row["orders"] += 1
        row["lifetime_value"] += order["paid_amount"] - order["refunded_amount"]
        row["first_order_at"] = min(row["first_order_at"], placed)
        row["last_order_at"] = max(row["last_order_at"], placed)


_COUNTS = ("created", "paid", "shipped", "delivered", "cancelled")
_SUMS = {"OrderPaid": "revenue", "OrderRefunded": "refunds"}


class DailyMetrics:
    """By day and currency: what happened to orders, and the money of all payments and refunds."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, ...], dict[str, Any]] = {}

    @property
    def rows(self) -> dict[tuple[str, ...], dict[str, Any]]:
        return {key: row for key, row in self._all.items() if any(row.values())}

    def add(self, order: Order, events: Iterable[Event]) -> None:
        """``events`` are those that count."""
        for what in _COUNTS:
            at = order["placed_at" if what == "created" else f"{what}_at"]
            if at is not None:
                self._row(at, order["currency"])[what] += 1
        for event in events:
            if event["event_type"] in _SUMS:
                row = self._row(event["created_at"], event["event_data"].get("currency"))
                row[_SUMS[event["event_type"]]] += amount_of(event)

    def _row(self, at: int, currency: str | None) -> dict[str, Any]:
        zeros = dict.fromkeys(_COUNTS, 0) | dict.fromkeys(_SUMS.values(), Decimal(0))
        return self._all.setdefault((day_of(at), currency or "XXX"), zeros)
