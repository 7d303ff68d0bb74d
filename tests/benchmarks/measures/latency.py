"""How long an append takes while a replay runs."""

import time
from collections.abc import Iterator
from functools import partial

from tests.benchmarks import pgbench
from tests.benchmarks.bench import Bench, processes
from tests.benchmarks.rows import Row, alternate, percentile
from tests.benchmarks.workers import replay_on_and_on

_CLIENTS = 4
_RATE = 200


def latency(bench: Bench) -> Iterator[Row]:
    log = bench.log(bench.medium)
    stop = bench.scratch / "stop-replay"
    append = partial(
        pgbench.latencies, log.url, pgbench.APPEND, clients=_CLIENTS, rate=_RATE, seconds=bench.seconds
    )
    medians: list[float] = []

    def quiet() -> float:
        return percentile(append(), 99)

    def during_replay() -> float:
        stop.unlink(missing_ok=True)
        running = pool.submit(replay_on_and_on, log.url, stop)
        time.sleep(0.2)  # it takes a moment until it reads
        try:
            values = append()
        finally:
            stop.touch()
            running.result()
        medians.append(percentile(values, 50))
        return percentile(values, 99)

    with processes(1) as pool:
        ours, theirs = alternate(bench.rounds, during_replay, quiet)
    yield Row(
        measure="append latency p99 while a replay runs",
        unit="ms",
        ours=ours,
        yardstick="without it",
        theirs=theirs,
        target=("<=", 2),
        note=f"{_CLIENTS} clients, {_RATE} appends due per second, waiting included; "
        f"median during the replay {min(medians):.1f} to {max(medians):.1f} ms",
    )
