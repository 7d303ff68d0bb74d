"""A replay by two processes."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from eventstore.engine.projection import BUCKETS
from tests.benchmarks.bench import Bench, processes
from tests.benchmarks.rows import Row, alternate
from tests.benchmarks.workers import replay


def parallel(bench: Bench) -> Iterator[Row]:
    log = bench.log(bench.medium)
    with processes(1) as one, processes(2) as two:
        ours, theirs = alternate(bench.rounds, partial(_replay, two, log.url), partial(_replay, one, log.url))
    yield Row(
        measure=f"replay, all buckets, 2 processes, {log.size:,} events",
        unit="events/s",
        ours=ours,
        yardstick="1 process",
        theirs=theirs,
        target=(">=", 1.6),
        note="the server's processes need a processor, too",
    )


def _replay(pool: ProcessPoolExecutor, url: str) -> float:
    started = time.perf_counter()
    events = sum(done.events for done in pool.map(replay, [url] * BUCKETS, range(BUCKETS)))
    return events / (time.perf_counter() - started)
