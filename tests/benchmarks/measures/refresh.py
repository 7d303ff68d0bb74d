"""Folding what is new."""

from collections.abc import Iterator
from statistics import median

from eventstore.log.connection import open_connection
from tests.benchmarks.bench import Bench, Log, processes
from tests.benchmarks.rows import Row
from tests.benchmarks.workers import replay
from tests.shipped import refresh as refresh_orders


def refresh(bench: Bench) -> Iterator[Row]:
    yield _by_size_of_log(bench)
    yield _many(bench)


def _by_size_of_log(bench: Bench) -> Row:
    logs = [bench.projected(size) for size in bench.sizes]
    times: dict[int, list[float]] = {log.size: [] for log in logs}
    for number in range(bench.rounds * 3):
        for log in logs if number % 2 else reversed(logs):
            times[log.size].append(_refresh(bench, log, bench.few)[1])
    for size, values in times.items():
        bench.grew(f"refresh of {bench.few:,} new events, ms", size, 1000 * median(values))
    return Row(
        measure=f"refresh of {bench.few:,} new events on {bench.events:,}",
        unit="s",
        ours=times[bench.events],
        yardstick=f"the same on {bench.small:,}",
        theirs=times[bench.small],
        target=("<=", 1.3),
        note="half of the events are of random orders that exist, half of new ones",
    )


def _many(bench: Bench) -> Row:
    log = bench.projected(bench.medium)
    ours, theirs = [], []
    with processes(1) as pool:
        for number in range(bench.rounds):
            events, seconds = _refresh(bench, log, bench.medium // 10)
            ours.append(events / seconds)
            share = [pool.submit(replay, log.url, 2 * number + bucket).result() for bucket in (0, 1)]
            theirs.append(sum(done.events for done in share) / sum(done.seconds for done in share))
    return Row(
        measure=f"refresh of {bench.medium // 10:,} new events on {bench.medium:,}",
        unit="events/s",
        ours=ours,
        yardstick="a full replay, its share in events",
        theirs=theirs,
        target=(">=", 0.5),
        note="the replay is of two buckets per round",
    )


def _refresh(bench: Bench, log: Log, events: int) -> tuple[int, float]:
    with open_connection(log.url) as connection:
        bench.extend(connection, log, events)
        refreshed = refresh_orders(connection)
    return refreshed.events, refreshed.seconds
