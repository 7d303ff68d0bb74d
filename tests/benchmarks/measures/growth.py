"""Costs that no other measure takes at every size of the log; for the plot."""

import time
from collections.abc import Iterator
from statistics import median
from uuid import UUID

from eventstore.log.connection import open_connection
from eventstore.readmodels.current import current
from tests.benchmarks import pgbench
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row

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
            times = []
            for order_id in orders:
                started = time.perf_counter()
                current(connection, order_id)
                times.append(time.perf_counter() - started)
            bench.grew("current() of a random order, ms", size, 1000 * median(times))
            started = time.perf_counter()
            appended = bench.extend(connection, log, max(100, bench.small // 10))
            bench.grew("append in bulk, µs per event", size, 1e6 * (time.perf_counter() - started) / appended)
        rates = [
            pgbench.throughput(log.url, pgbench.APPEND, clients=1, transactions=bench.few)
            for _ in range(bench.rounds)
        ]
        bench.grew("append of 1 event, ms", size, 1000 / median(rates))
    yield from ()
