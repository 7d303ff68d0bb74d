"""The history of real orders, some of whose events come late, equals a fold of their lines made here."""

import gzip
import json
import random
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.engine.history.overlaps import overlaps
from eventstore.orders.domain import HISTORY
from tests.buckets import BUCKETS
from tests.shipped import promote_projection as promote
from tests.shipped import refresh_history, replay_bucket

LINES, LOADS = 8_000, 4
STATUS = ["OrderCancelled", "OrderDelivered", "OrderShipped", "OrderPaid", "OrderCreated"]  # the first wins


class Told(NamedTuple):
    at: datetime
    version: int
    kind: str
    data: dict[str, Any]
    load: int


def expected(told: list[Told], at: datetime, loads: int) -> dict[str, Any] | None:
    """An order after what had happened by ``at`` and had been loaded with the first ``loads`` loads."""
    events = sorted(event for event in told if event.at <= at and event.load <= loads)
    if not events:
        return None
    kinds = [event.kind for event in events]
    created = [event for event in events if event.kind == "OrderCreated"]
    return {
        "status": next(kind for kind in STATUS if kind in kinds).removeprefix("Order"),
        "customer_id": UUID(created[0].data["customer_id"]) if created else None,
        "amount": Decimal(created[0].data["amount"]) if created else None,
        "paid_amount": sum((Decimal(e.data["amount"]) for e in events if e.kind == "OrderPaid"), Decimal(0)),
        "version": max(event.version for event in events),
        "last_event_at": events[-1].at,
    }


def load(connection: psycopg.Connection[Any], lines: list[dict[str, Any]]) -> datetime:
    """Append the lines in one millisecond; returns it."""
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT open_staging()")
        with cursor.copy(
            "COPY staged_events (line, order_id, event_type, event_data, created_at, source, source_id,"
            " metadata) FROM STDIN"
        ) as copy:
            for number, line in enumerate(lines):
                ms = int(datetime.fromisoformat(line["time"]).timestamp()) * 1000
                identity = line["source"], line["id"]
                copy.write_row(
                    (number, line["subject"], line["type"], Jsonb(line["data"]), ms, *identity, "{}")
                )
        assert cursor.execute("SELECT * FROM append_staged()").fetchall() == []
    (recorded,) = connection.execute(
        "SELECT recorded_at(id) FROM order_events ORDER BY id DESC LIMIT 1"
    ).fetchone() or (None,)
    assert isinstance(recorded, datetime)
    return recorded


@pytest.fixture
def lines(shared_data: Path) -> list[dict[str, Any]]:
    with gzip.open(shared_data / "olist" / "events.ndjson.gz", "rt") as file:
        return [json.loads(line) for line in islice(file, LINES)]


def test_olist_orders_are_as_they_were_and_as_they_were_known(
    connection: psycopg.Connection[Any], lines: list[dict[str, Any]]
) -> None:
    chance = random.Random(20160904)
    loads: list[list[dict[str, Any]]] = [[] for _ in range(LOADS)]
    for position, line in enumerate(lines):
        due = position * LOADS // len(lines)
        delay = chance.choice([0, 0, 0, 0, 1, 2])
        loads[min(due + delay, LOADS - 1)].append(line)
    told: defaultdict[UUID, list[Told]] = defaultdict(list)
    known: list[datetime] = []
    for number, part in enumerate(loads):
        known.append(load(connection, part))
        refresh_history(connection)
        for line in part:
            stream = told[UUID(line["subject"])]
            at = datetime.fromisoformat(line["time"])
            stream.append(Told(at, len(stream) + 1, line["type"], line["data"], number))
    assert len(told) > 1_500

    ats = [datetime.fromisoformat(line["time"]) for line in chance.sample(lines, 12)]
    moments = [(at, loaded) for at in [*ats, datetime(2100, 1, 1, tzinfo=UTC)] for loaded in range(LOADS)]

    def assert_as_it_was() -> None:
        for at, loaded in moments:
            with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
                rows = cursor.execute(
                    "SELECT order_id, status, customer_id, amount, paid_amount, version, last_event_at "
                    "FROM orders_as_of(%s, %s)",
                    (at, known[loaded]),
                ).fetchall()
            found = {row.pop("order_id"): row for row in rows}
            model = {order: expected(stream, at, loaded) for order, stream in told.items()}
            assert found == {order: state for order, state in model.items() if state}

    assert_as_it_was()
    assert overlaps(connection) == []
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, HISTORY)
    promoted = promote(connection, HISTORY)
    assert promoted is not None
    assert (promoted.added, promoted.changed, promoted.gone) == (0, 0, 0)
    assert_as_it_was()
