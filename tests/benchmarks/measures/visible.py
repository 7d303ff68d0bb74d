"""From append to visible in ``orders``, under ``make up``."""

import json
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

from eventstore.log.connection import Connection, open_connection
from eventstore.orders.events import OrderPaid
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, percentile
from tests.benchmarks.under_dagster import dagster, in_orders
from tests.shipped import append

_APPEND_EVERY_S = 5
_LONGEST_S = 150


def visible(bench: Bench) -> Iterator[Row]:
    with bench.new_database() as url, dagster(bench, url), open_connection(url) as connection:
        bench.say("make up is ready; appending, then waiting for the schedule")
        appended = _by_schedule(connection, bench.rounds * 8)
        bench.say("dropping files")
        files = [_by_sensor(bench, connection) for _ in range(bench.rounds * 4)]
    yield Row(
        measure="append to visible in orders under make up, p95",
        unit="s",
        ours=[percentile(appended, 95)],
        note=f"{len(appended)} appends, one every {_APPEND_EVERY_S} s: {_range(appended)}; "
        "the schedule runs every 60 s",
    )
    yield Row(
        measure="file in the landing folder to visible in orders, p95",
        unit="s",
        ours=[percentile(files, 95)],
        target=("<=", 15),
        note=f"{len(files)} files: {_range(files)}; a file must be 3 s old before it is read",
    )


def _range(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f} s, median {percentile(values, 50):.1f} s"


def _by_schedule(connection: Connection, count: int) -> list[float]:
    """Events appended by the Python API one after the other, all watched at once."""
    waiting: dict[UUID, float] = {}
    times: list[float] = []
    started = time.monotonic()
    while len(times) < count:
        now = time.monotonic()
        due = min(count, int((now - started) / _APPEND_EVERY_S) + 1)
        if len(times) + len(waiting) < due:
            order_id = uuid4()
            append(connection, order_id, [OrderPaid(amount="1.00", currency="EUR")])  # type: ignore[arg-type]
            waiting[order_id] = time.monotonic()
        for order_id in in_orders(connection, list(waiting)):
            times.append(time.monotonic() - waiting.pop(order_id))
        if any(now - since > _LONGEST_S for since in waiting.values()):
            raise TimeoutError(f"an appended event is not in orders after {_LONGEST_S} s")
        time.sleep(0.05)
    return times


def _by_sensor(bench: Bench, connection: Connection) -> float:
    order_id = uuid4()
    event = {
        "specversion": "1.0", "id": "1", "source": "/payments", "type": "OrderPaid", "subject": str(order_id),
        "data": {"amount": "1.00", "currency": "EUR"},
    }  # fmt: skip
    hidden = bench.scratch / "landing" / f".{order_id}.tmp"
    hidden.write_text(json.dumps(event) + "\n")
    hidden.rename(hidden.with_name(f"{order_id}.ndjson"))
    dropped = time.monotonic()
    while not in_orders(connection, [order_id]):
        if time.monotonic() - dropped > _LONGEST_S:
            raise TimeoutError(f"an event of a file is not in orders after {_LONGEST_S} s")
        time.sleep(0.05)
    return time.monotonic() - dropped
