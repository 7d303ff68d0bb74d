"""What keeps more than the current state: a row per span, a row per day."""

import time
from collections.abc import Iterator
from datetime import timedelta

from eventstore.log.connection import open_connection
from eventstore.orders.domain import HISTORY
from tests.benchmarks.bench import Bench, Log, processes
from tests.benchmarks.rows import Row
from tests.benchmarks.workers import Replayed
from tests.benchmarks.workers import replay as replay_bucket
from tests.buckets import BUCKETS
from tests.shipped import build_snapshots, refresh_stale


def history(bench: Bench) -> Iterator[Row]:
    log = bench.log(bench.medium)
    row = _replay(log)
    yield row
    yield _first_build(log, row.theirs)


def _replay(log: Log) -> Row:
    """Bucket by bucket, each a round of its own; the two take turns in being the first to read it."""
    ours, theirs = [], []
    with processes(1) as history, processes(1) as orders:
        for bucket in range(BUCKETS):
            names = (HISTORY.name, "orders")
            done: dict[str, Replayed] = {}
            for name in names if bucket % 2 else reversed(names):
                pool = history if name == HISTORY.name else orders
                done[name] = pool.submit(replay_bucket, log.url, bucket, name).result()
            if done[HISTORY.name].events:
                ours.append(done[HISTORY.name].events / done[HISTORY.name].seconds)
                theirs.append(done["orders"].events / done["orders"].seconds)
    return Row(
        measure=f"full replay of order_history, 1 process, {log.size:,} events",
        unit="events/s",
        ours=ours,
        yardstick="the same of orders",
        theirs=theirs,
        target=(">=", 0.5),
        note=f"{BUCKETS} rounds: bucket by bucket",
    )


def _first_build(log: Log, orders: list[float]) -> Row:
    """Of a whole year; what is built is taken away again."""
    with open_connection(log.url) as connection:
        refresh_stale(connection)
        first_day, events = connection.execute(
            "SELECT business_day(min(created_at)), count(*) FROM order_events"
        ).fetchone() or (None, 0)
        assert first_day is not None
        started = time.perf_counter()
        built = build_snapshots(connection, first_day, first_day + timedelta(days=364))
        seconds = time.perf_counter() - started
        connection.execute("TRUNCATE order_snapshots, order_checkpoints, order_snapshot_days")
        connection.execute("DELETE FROM projections WHERE name = 'order_snapshots'")
        connection.execute("ANALYZE order_snapshots, order_checkpoints")
    return Row(
        measure=f"first build of a year of snapshots, {log.size:,} events",
        unit="events/s",
        ours=[events / seconds],
        yardstick="full replay of orders",
        theirs=orders,
        note=f"{built.rows:,} snapshots in {seconds:.1f} s, one transaction, one process",
    )
