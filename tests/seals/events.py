"""Events for tests of seals: of many orders, quickly, and with what JSON can hold."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

#: Payloads in which a careless canonical form would lose something.
ODD_DATA: tuple[dict[str, Any], ...] = (
    {"carrier": "DHL"},
    {"carrier": "Müller & Söhne ✓ 🚚", "note": 'a "quoted" \\ line\nand\ttab \x01\x7f/'},
    {"bb": 1, "a": 2, "B": 3, "": 4, "ä": 5, "aa": 6},
    {"nested": {"list": [1, [], {}, None, True, False, "x", {"z": 1, "y": [2]}]}},
)


def append_orders(connection: psycopg.Connection[Any], orders: int, events: int = 1) -> list[UUID]:
    """Append so many events to each of so many new orders, in their order, an order a transaction."""
    made = [uuid4() for _ in range(orders)]
    payload = [
        {
            "type": ("OrderShipped", "OrderDelivered", "OrderCancelled")[number % 3],
            "data": ODD_DATA[number % len(ODD_DATA)],
            "created_at": 1_772_000_000_000 + number * 1000,
            **({"source": "/tests", "source_id": f"{number}"} if number % 2 else {}),
            "metadata": {"actor": "ann"} if number % 5 == 0 else {},
        }
        for number in range(events)
    ]
    with connection.cursor() as cursor:
        cursor.executemany("SELECT append_events(%s, %s)", [(order, Jsonb(payload)) for order in made])
    return made
