"""A replay by the workers of one command, and what the processor time of one says of more."""

import os
import time
from collections.abc import Iterable, Iterator
from functools import partial
from multiprocessing import active_children
from statistics import median
from typing import NamedTuple

import psutil
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.face.cli.replay_workers import Workers, replay_workers
from eventstore.log.connection import Connection, open_connection
from eventstore.orders.domain import ORDERS
from tests.benchmarks.bench import Bench, Log
from tests.benchmarks.rows import Row, alternate
from tests.buckets import BUCKETS


class _Cost(NamedTuple):
    """Seconds of processor time per event."""

    client: float
    server: float  #: 0 where it is on another machine

    def bound(self, workers: int, processors: int) -> float:
        """Events/s of so many workers, each of which folds alone, where the server shares the processors."""
        return min(workers / self.client, processors / (self.client + self.server))


def parallel(bench: Bench) -> Iterator[Row]:
    log = bench.log(bench.medium)
    cost = _cost(log)
    with replay_workers(log.url, 1) as one, replay_workers(log.url, 2) as two:
        for workers in (one, two):
            _replay(workers, range(2))  # they have started then
        ours, theirs = alternate(bench.rounds, partial(_replay, two), partial(_replay, one))
    yield Row(
        measure=f"replay, all buckets, 2 workers, {log.size:,} events",
        unit="events/s",
        ours=ours,
        yardstick="1 worker",
        theirs=theirs,
        target=(">=", 1.6),
        note="the server's processes need a processor, too",
    )
    processors = os.cpu_count() or 1
    clock = 1 / median(theirs)
    modelled = ", ".join(f"{n} on {2 * n} processors {cost.bound(n, 2 * n):,.0f}" for n in (4, 8, 16))
    yield Row(
        measure="the same",
        unit="events/s",
        ours=ours,
        yardstick=f"what processor time allows 2 workers on {processors} processors",
        theirs=[cost.bound(2, processors)],
        target=(">=", 0.8),
        note=f"per event one worker takes {1e6 * cost.client:.1f} µs of processor time, the server "
        f"{1e6 * cost.server:.1f}, the clock {1e6 * clock:.1f}; modelled, not measured: {modelled} events/s",
    )


def _replay(workers: Workers, buckets: Iterable[int] = range(BUCKETS)) -> float:
    started = time.perf_counter()
    events = _events(workers, buckets)
    return events / (time.perf_counter() - started)


def _events(workers: Workers, buckets: Iterable[int]) -> int:
    return sum(done.events for done in workers.replay(ORDERS, ORDERS.current, buckets, lambda _: None))


def _cost(log: Log) -> _Cost:
    """Of one worker. A session's time is its postmaster's to tell when it has ended."""
    with open_connection(log.url) as connection:
        pid = connection.info.backend_pid
        server = psutil.Process(pid).parent() if psutil.pid_exists(pid) else None
        before = _of_ended_sessions(server)
        others = active_children()
        with replay_workers(log.url, 1) as workers:
            begun = _events(workers, range(1))
            (worker,) = (psutil.Process(each.pid) for each in active_children() if each not in others)
            client = -sum(worker.cpu_times()[:2])
            events = _events(workers, range(BUCKETS))
            client += sum(worker.cpu_times()[:2])
        _await_end_of_others(connection)
        time.sleep(0.1)  # the postmaster is told by a signal
        return _Cost(client / events, (_of_ended_sessions(server) - before) / (begun + events))


def _of_ended_sessions(server: psutil.Process | None) -> float:
    if server is None:
        return 0.0
    used = server.cpu_times()
    return float(used.children_user + used.children_system)


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.02), stop=stop_after_delay(30))
def _await_end_of_others(connection: Connection) -> bool:
    others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return connection.execute(others).fetchone() is None
