"""Costs that no other measure takes at every size of the log; for the plot."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from uuid import UUID

from eventstore.log.connection import open_connection
from tests.benchmarks import pgbench
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row
from tests.shipped import current, state

_SAMPLES = 200


def growth(bench: Bench) -> Iterator[Row]:
    for size in bench.sizes:
        log = bench.projected(size)
        with open_connection(log.url) as connection:
            orders: list[UUID] = [
                order_id
                for (order_id,) in connection.execute(
                    "SELECT md5('order ' || (random() * %s)::bigint)::uuid FROM generate_series(1, %s)",
                    (log.orders - 1, _SAMPLES),
                )
            ]
            now = partial(current, connection)
            before = partial(state, connection, at=datetime.now(UTC) - timedelta(days=100))
            bench.grew("current(), ms", size, _median_ms(now, orders))
            bench.grew("state() of 100 days ago, ms", size, _median_ms(before, orders))
            started = time.perf_counter()
            appended = bench.extend(connection, log, max(100, bench.small // 10))
            bench.grew("append in bulk, µs per event", size, 1e6 * (time.perf_counter() - started) / appended)
        rates = [
            pgbench.throughput(log.url, pgbench.APPEND, clients=1, transactions=bench.few)
            for _ in range(bench.rounds)
        ]
        bench.grew("append of 1 event, ms", size, 1000 / median(rates))
    yield from ()


def _median_ms(answer: Callable[[UUID], object], orders: list[UUID]) -> float:
    times = []
    for order_id in orders:
        started = time.perf_counter()
        answer(order_id)
        times.append(1000 * (time.perf_counter() - started))
    return median(times)
