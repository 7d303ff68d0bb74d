"""The events that are sent: of every type, dated, late, undated, with ties, some with an identity."""

import json
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID, uuid5

from tests.chaos.plan import Plan

MARCH_1 = 1_772_323_200_000  # 2026-03-01, in milliseconds
DAY = 86_400_000
DAYS = 10  #: dated events lie within so many days, but for the tails

_NAMES = UUID("7d8c0b0e-5a3c-4b2a-9b1e-000000000000")
_CURRENCIES = ("EUR", "EUR", "USD", "GBP")
_WITH_AMOUNT = ("OrderCreated", "OrderPaid", "OrderPaid", "OrderRefunded", "OrderAmountCorrected")
_WITHOUT = ("OrderShipped", "OrderDelivered", "OrderCancelled")
_OF_A_NEWER_WRITER = ("OrderTeleported", "OrderGiftWrapped")

Event = dict[str, Any]


def order_named(plan: Plan, name: str) -> UUID:
    return uuid5(_NAMES, f"{plan.seed} order {name}")


def happening(plan: Plan, chance: Random, tag: str, *, from_file: bool = False) -> Event:
    """An event in the form of append_events(). Its payload carries ``tag``, which no other one has."""
    data: dict[str, Any] = {"tag": tag}
    event: Event = {"type": chance.choice(_WITH_AMOUNT + _WITHOUT), "data": data}
    if not from_file and chance.random() < 0.02:
        event["type"] = chance.choice(_OF_A_NEWER_WRITER)
    if event["type"] in _WITH_AMOUNT:
        data["currency"] = chance.choice(_CURRENCIES)
        cents = chance.randrange(100_000)
        if chance.random() < 0.1:  # as written long ago
            data["amount"], event["metadata"] = cents, {"schema_version": 1}
        else:
            data["amount"] = _decimal(chance, cents)
        if event["type"] == "OrderCreated":
            data["customer_id"] = str(uuid5(_NAMES, f"customer {chance.randrange(200)}"))
    elif event["type"] == "OrderShipped" and chance.random() < 0.5:
        data["carrier"] = chance.choice(("DHL", 'Brüder "Grimm" \\ Söhne', "a\tb\nc"))
    if chance.random() < 0.7:
        event["created_at"] = business_time(chance)
    if not from_file and chance.random() < plan.failing:
        event["type"] = "OrderPaid"
        data.pop(chance.choice(["amount", "currency"]), None)
        data.pop("amount", None)
    return event


def business_time(chance: Random) -> int:
    at = MARCH_1 + chance.randrange(DAYS * DAY)
    return at - at % 3_600_000 if chance.random() < 0.3 else at  # ties


def _decimal(chance: Random, cents: int) -> str:
    """The same amount may be written in several ways."""
    if cents % 100 == 0 and chance.random() < 0.5:
        return str(cents // 100)
    return f"{cents // 100}.{cents % 100:02d}" + chance.choice(("", "", "0"))


def as_cloudevent(order_id: UUID, event: Event) -> bytes:
    """A line of a file; the event has an identity."""
    line = {
        "specversion": "1.0",
        "id": event["source_id"],
        "source": event["source"],
        "type": event["type"],
        "subject": str(order_id),
        "data": event["data"],
    }
    if "created_at" in event:
        seconds, ms = divmod(event["created_at"], 1000)
        line["time"] = f"{_iso(seconds)}.{ms:03d}Z"
    if "metadata" in event:
        line["schemaversion"] = event["metadata"]["schema_version"]
    return json.dumps(line).encode() + b"\n"


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def sent_line(tag: str, tx: str, order_id: UUID, event: Event) -> tuple[Any, ...]:
    """The event as a line of the journal "sent"."""
    data = json.dumps(event["data"])
    identity = (event.get("source"), event.get("source_id"))
    return (tag, tx, order_id, event["type"], data, event.get("created_at"), *identity)
