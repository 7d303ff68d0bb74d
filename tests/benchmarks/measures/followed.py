"""From append to visible in ``orders`` where the log is followed, beside the schedules."""

import time
from collections.abc import Iterator
from threading import Event, Thread
from uuid import UUID, uuid4

from eventstore.log.connection import open_connection
from eventstore.orders.events import OrderPaid
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, percentile
from tests.benchmarks.under_dagster import dagster, in_orders
from tests.shipped import append

_PER_SECOND = 100
_LONGEST_S = 30
_LOOK_EVERY_S = 0.01


def followed(bench: Bench) -> Iterator[Row]:
    seconds = min(600.0, bench.seconds * bench.rounds * 10)
    with bench.new_database() as url, dagster(bench, url, "--follow"):
        bench.say(f"make up FOLLOW=1 is ready; appending for {seconds:.0f} s")
        times = _times(url, seconds)
    yield Row(
        measure="append to visible in orders under make up FOLLOW=1, p95",
        unit="s",
        ours=[percentile(times, 95)],
        target=("<=", 0.3),
        note=f"{len(times):,} appends in {seconds:.0f} s, {_PER_SECOND} due a second, beside the schedules: "
        f"median {percentile(times, 50):.2f} s, p99 {percentile(times, 99):.2f} s, "
        f"longest {max(times):.2f} s",
    )


def _times(url: str, seconds: float) -> list[float]:
    """How long each append took from its commit until it was seen; all are waited for."""
    waiting: dict[UUID, float] = {}
    done = Event()
    appending = Thread(target=_append, args=(url, seconds, waiting, done))
    appending.start()
    times: list[float] = []
    last = time.monotonic()
    with open_connection(url) as connection:
        while waiting or not done.is_set():
            seen = in_orders(connection, list(waiting))
            now = time.monotonic()
            times += [now - waiting.pop(order_id) for order_id in seen]
            last = now if seen or not waiting else last
            if now - last > _LONGEST_S:
                raise TimeoutError(f"an appended event is not in orders after {_LONGEST_S} s")
            time.sleep(_LOOK_EVERY_S)
    appending.join()
    return times


def _append(url: str, seconds: float, waiting: dict[UUID, float], done: Event) -> None:
    started = time.monotonic()
    try:
        with open_connection(url) as connection:
            for number in range(int(seconds * _PER_SECOND)):
                time.sleep(max(0.0, started + number / _PER_SECOND - time.monotonic()))
                order_id = uuid4()
                append(connection, order_id, [OrderPaid(amount="1.00", currency="EUR")])  # type: ignore[arg-type]
                waiting[order_id] = time.monotonic()
    finally:
        done.set()
