"""Folding the whole log again, in one process."""

from collections.abc import Iterator
from statistics import median

from eventstore.log.connection import open_connection
from tests.benchmarks import with_eventsourcing
from tests.benchmarks.bench import Bench, Log, processes
from tests.benchmarks.rows import Row
from tests.benchmarks.workers import drain
from tests.benchmarks.workers import replay as replay_bucket
from tests.buckets import BUCKETS


def replay(bench: Bench) -> Iterator[Row]:
    ratio: dict[int, float] = {}
    memory: dict[int, float] = {}
    rate: dict[int, list[float]] = {}
    for size in bench.sizes:
        log = bench.log(size)
        row, memory[size], seconds = _replay(log)
        ratio[size], rate[size] = median(row.ratios), row.ours
        bench.grew("replay, µs per event", size, 1e6 / median(row.ours))
        bench.grew("draining the log, µs per event", size, 1e6 / median(row.theirs))
        bench.grew("replay, peak memory, MB", size, memory[size])
        promotion = bench.promote(log)
        bench.grew("promotion of a first replay, s", size, promotion)
        if size == bench.small:
            continue
        row.note += f"; {seconds:,.0f} s for the whole log; the promotion after it took {promotion:.0f} s"
        yield row
    yield Row(
        measure="the same ratio on both logs",
        unit="of the drain",
        ours=[ratio[bench.events]],
        yardstick=f"on {bench.medium:,} events",
        theirs=[ratio[bench.medium]],
        target=(">=", 0.8),
        note="equal within 20 %",
    )
    yield Row(
        measure=f"full replay of {bench.events:,} events, peak memory",
        unit="MB",
        ours=[memory[bench.events]],
        target=("<=", 150),
        note="resident set of the process that folds, from its start to the end of the last bucket",
    )
    yield Row(
        measure="the same",
        unit="MB",
        ours=[memory[bench.events]],
        yardstick=f"on {bench.medium:,} events",
        theirs=[memory[bench.medium]],
        target=("<=", 1.1),
        note="not growing",
    )
    yield _against_package(bench, rate[bench.medium])


def _replay(log: Log) -> tuple[Row, float, float]:
    """Bucket by bucket, each a round of its own; the two take turns in being the first to read it."""
    ours: list[float] = []
    theirs: list[float] = []
    seconds = 0.0
    with processes(1) as folding, processes(1) as draining:
        for bucket in range(BUCKETS):
            drained = draining.submit(drain, log.url, bucket).result() if bucket % 2 else None
            events, took, peak = folding.submit(replay_bucket, log.url, bucket).result()
            if drained is None:
                drained = draining.submit(drain, log.url, bucket).result()
            seconds += took
            if events:
                ours.append(events / took)
                theirs.append(events / drained)
    row = Row(
        measure=f"full replay of orders, 1 process, {log.size:,} events",
        unit="events/s",
        ours=ours,
        yardstick="draining COPY (SELECT the same columns ORDER BY the same key) TO STDOUT",
        theirs=theirs,
        target=(">=", 0.4),
        note=f"{BUCKETS} rounds: bucket by bucket",
    )
    return row, peak, seconds


def _against_package(bench: Bench, rate: list[float]) -> Row:
    """Its rate hardly depends on how many events there are; it gets few, for lack of time."""
    count = max(10, bench.events // 2000)
    package = []
    for _ in range(bench.rounds):
        with bench.new_database() as url, open_connection(bench.log(bench.medium).url) as connection:
            events = connection.execute(
                "SELECT order_id, version, event_type, event_data::text, created_at "
                "FROM order_events ORDER BY id LIMIT %s",
                (count,),
            ).fetchall()
            with_eventsourcing.save_in_batches(url, events)
            package.append(with_eventsourcing.project(url, len(events)))
    return Row(
        measure=f"full replay, {bench.medium:,} events",
        unit="events/s",
        ours=rate,
        yardstick="eventsourcing, ProjectionRunner keeping the same view",
        theirs=package,
        target=(">=", 100),
        note=f"the runner gets {count:,} events; a row is read, evolved by our rules and written per event",
    )
