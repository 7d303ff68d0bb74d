"""A file of CloudEvents into the log."""

import gzip
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from eventstore.log.connection import open_connection
from eventstore.orders.sample import write_sample
from tests.benchmarks import before, with_eventsourcing
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, alternate
from tests.shipped import ingest as ingest_files

_COLUMNS = "id, order_id, version, event_type, event_data, created_at, source, source_id, metadata"
_BLOCK = 1 << 20


def ingest(bench: Bench) -> Iterator[Row]:
    bench.say(f"writing a file of {bench.medium:,} events")
    file = sample(bench.scratch, bench.medium)
    rows = bench.scratch / "prepared-rows"
    ours: list[float] = []
    theirs: list[float] = []
    package: list[float] = []
    for number in range(bench.rounds):
        with bench.new_database() as url:
            copied = _copy(url, rows) if number % 2 else None
            started = time.perf_counter()
            done = ingest_files(url, [file])
            ours.append(done.appended / (time.perf_counter() - started))
            if not rows.exists():
                _prepare(url, rows)
            theirs.append(copied or _copy(url, rows))
            with open_connection(url) as connection:
                events = connection.execute(
                    "SELECT order_id, version, event_type, event_data::text, created_at "
                    "FROM order_events ORDER BY id LIMIT %s",
                    (max(10, bench.medium // 10),),
                ).fetchall()
            package.append(with_eventsourcing.save_in_batches(url, events))
    yield Row(
        measure=f"ingest, NDJSON.gz to committed events, {done.appended:,} events",
        unit="events/s",
        ours=ours,
        yardstick="COPY of the same prepared rows into the same kind of table",
        theirs=theirs,
        target=(">=", 0.5),
        note=f"validated and deduplicated: {done.read:,} lines, {done.duplicates:,} duplicates, "
        f"{done.rejected} rejected",
    )
    yield Row(
        measure="ingest",
        unit="events/s",
        ours=ours,
        yardstick="eventsourcing, saving the same events in batches of 500",
        theirs=package,
        target=(">=", 5),
        note=f"the package saves the first {len(events):,} of them, typed already: it reads no file",
    )


def release(bench: Bench) -> Iterator[Row]:
    """The same by the command line, beside the release before."""
    file = sample(bench.scratch, bench.medium)
    with gzip.open(file) as lines:
        events = sum(1 for _ in lines)
    code = before.tree(bench.scratch / "before")
    if code is None:
        bench.say("the repository does not have the release before: no comparison with it")
        return

    def rate(code: Path) -> float:
        with bench.unmade_database() as url:
            return events / before.seconds_to_ingest(code, url, file)

    ours, theirs = alternate(bench.rounds, partial(rate, before.ROOT), partial(rate, code))
    yield Row(
        measure="ingest, by the command line",
        unit="lines/s",
        ours=ours,
        yardstick="the release before",
        theirs=theirs,
        target=(">=", 1.5),
        note=f"eventstore ingest as a process, its start included; the tree of commit {before.COMMIT}",
    )


def sample(folder: Path, events: int) -> Path:
    """A file of so many events; the same one each time."""
    file = folder / f"events-{events}.ndjson.gz"
    if file.exists():
        return file
    parts = write_sample(folder / "sample", orders=max(20, round(events / 3.7)))
    with gzip.open(file, "wb", compresslevel=6) as whole:
        for part in parts:
            with gzip.open(part) if part.suffix == ".gz" else part.open("rb") as lines:
                shutil.copyfileobj(lines, whole)
            part.unlink()
    return file


def _prepare(url: str, rows: Path) -> None:
    with (
        open_connection(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY (SELECT {_COLUMNS} FROM order_events ORDER BY id) TO STDOUT") as copy,
        rows.open("wb") as file,
    ):
        for block in copy:
            file.write(block)


def _copy(url: str, rows: Path) -> float:
    """Rows per second."""
    started = time.perf_counter()
    with open_connection(url) as connection, connection.cursor() as cursor:
        with rows.open("rb") as file, cursor.copy(f"COPY plain_events ({_COLUMNS}) FROM STDIN") as copy:
            while block := file.read(_BLOCK):
                copy.write(block)
        return cursor.rowcount / (time.perf_counter() - started)
