"""Processes that append in every way that a service may, for the tests of the feed."""

import random
import time
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

ORDERS = [UUID(int=number) for number in range(1, 21)]


def event(number: int, *, identity: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "OrderPaid", "data": {"amount": f"{number}.00", "currency": "EUR"}}
    return made | ({"source": "/writers", "source_id": identity} if identity else {})


def write(url: str, seed: int, transactions: int) -> None:
    """Single and several events, any version and an expected one, retries, delays, rollbacks."""
    chance = random.Random(seed)
    with psycopg.connect(url) as connection:
        for number in range(transactions):
            try:
                for _ in range(chance.choice([1, 1, 1, 2, 3])):
                    _append(connection, chance, f"{seed}/{number}")
                time.sleep(chance.choice([0, 0, 0.002, 0.01, 0.03]))  # an application that takes its time
                if chance.random() < 0.15:
                    connection.rollback()
                else:
                    connection.commit()
            except psycopg.Error as error:
                assert error.sqlstate in {"ES001", "40P01"}, error  # a wrong version, a deadlock
                connection.rollback()


def _append(connection: psycopg.Connection[Any], chance: random.Random, name: str) -> None:
    order = chance.choice(ORDERS)
    identity = f"{name}/{chance.randrange(3)}" if chance.random() < 0.3 else None
    events = [event(number) for number in range(chance.choice([1, 1, 2, 5]))] if identity is None else []
    expected = None
    if chance.random() < 0.4:
        row = connection.execute(
            "SELECT coalesce(max(version), 0) FROM order_events WHERE order_id = %s", (order,)
        ).fetchone()
        assert row is not None
        expected = row[0]
    connection.execute(
        "SELECT append_events(%s, %s, %s)", (order, Jsonb(events or [event(1, identity=identity)]), expected)
    )


def write_for_ever(url: str, seed: int) -> None:
    """To be killed."""
    while True:
        write(url, seed, 1)
        seed += 1000
