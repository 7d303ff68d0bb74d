"""What each scheduled job costs on logs of two sizes, as Dagster runs it, checks and all."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from unittest.mock import patch

from eventstore.log.connection import open_connection
from eventstore.orders.domain import HISTORY
from pipelines import jobs as shipped
from pipelines.seals import verify_seals
from tests.benchmarks.bench import Bench, Log, processes
from tests.benchmarks.measures.seals import forget_seals
from tests.benchmarks.rows import Row
from tests.benchmarks.workers import replay
from tests.buckets import BUCKETS
from tests.pipelines.work import Work, append_news, catch_up, scheduled, work_of
from tests.shipped import promote_projection, refresh

_YESTERDAY = datetime.now(UTC) - timedelta(days=1)
_FOLLOWS_ORDERS = {f"job {job.name}" for job in (shipped.refresh_metrics, *shipped.DERIVED.values())}
#: They have a budget of their own.
_PROOFS = {f"job {job.name}" for job in (shipped.integrity, shipped.check_history, verify_seals)}


def jobs(bench: Bench) -> Iterator[Row]:
    logging.disable(logging.INFO)  # Dagster tells each step
    sizes = (bench.small, bench.events)
    done: dict[str, list[tuple[Work, float]]] = {}
    for size in sizes:
        log = bench.projected(size)
        _make_all(bench, log)
        for name in _names(log):
            cost = _cost(bench, log, name)
            done.setdefault(name, []).append(cost)
            if cost[0].buffers:
                bench.grew(f"{name}, pages", size, cost[0].buffers)
        forget_seals(log)
    for name, ((small, before), (large, after)) in done.items():
        if not (small.buffers or large.buffers):
            continue  # it does not touch the database, such as the sensor of alerts that go nowhere
        yield Row(
            measure=f"{name} after {bench.few:,} new events on {bench.events:,}",
            unit="pages read",
            ours=[large.buffers],
            yardstick=f"the same on {bench.small:,}",
            theirs=[max(1, small.buffers)],
            target=("<=", 1.5),
            note=f"rows read: {large.rows:,} and {small.rows:,}; seconds: {after:.1f} and {before:.1f}",
        )


def _names(log: Log) -> list[str]:
    names = [
        name for name in scheduled(log.url, "2026-01-01") if name.startswith(("job", "status", "sensor"))
    ]
    return [name for name in names if name not in _PROOFS]


def _make_all(bench: Bench, log: Log) -> None:
    bench.say(f"folding {log.size:,} events into order_history, and what else there is")
    with processes(2) as pool:
        list(pool.map(partial(replay, log.url, projection=HISTORY.name), range(BUCKETS)))
    with open_connection(log.url) as connection:
        assert promote_projection(connection, HISTORY) is not None
    forget_seals(log)
    with _home(bench, log):
        catch_up(log.url)
    with open_connection(log.url) as connection:
        connection.execute("VACUUM ANALYZE")


@contextmanager
def _home(bench: Bench, log: Log) -> Iterator[None]:
    """A home of each log's own: copies of seals belong to one database."""
    home = bench.scratch / "jobs" / str(log.size)
    (home / "landing").mkdir(parents=True, exist_ok=True)
    with patch.dict(os.environ, {"EVENTSTORE_HOME": str(home)}):
        yield


def _cost(bench: Bench, log: Log, name: str) -> tuple[Work, float]:
    """Twice: the first time, caches are cold, and tables are extended."""
    for _ in range(2):
        with _home(bench, log):
            catch_up(log.url)
            append_news(log.url, _YESTERDAY, max(1, bench.few // 3))
            if name in _FOLLOWS_ORDERS:
                with open_connection(log.url) as connection:
                    refresh(connection)
            run = scheduled(log.url, f"{_YESTERDAY:%Y-%m-%d}")[name]
            started = time.perf_counter()
            work = work_of(log.url, run)
            seconds = time.perf_counter() - started
    return work, seconds
