"""Sealing and verifying: how fast, at what cost, and what an ingest beside it notices."""

import os
import time
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median

from psycopg import sql

from eventstore.log.buckets import buckets_of
from eventstore.log.connection import Connection, open_connection
from eventstore.seals.leaves import BEGINNING, Leaves, buckets, prefer_index, read_leaves
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal as seal_log
from eventstore.seals.tree import HASH_BYTES
from eventstore.seals.verifying import INTACT, verify
from eventstore.seals.walk import next_stop
from tests.benchmarks.bench import Bench, Log, processes
from tests.benchmarks.measures.ingest import sample
from tests.benchmarks.rows import Row, alternate
from tests.benchmarks.workers import drain_in_order_of_ids, seal, seal_on_and_on
from tests.shipped import ingest as ingest_files

_SEALS = "seal_tiles", "seal_trees", "seal_checkpoints", "seal_keys", "seal_timestamps", "seal_verification"
_TEXT = (
    "SELECT jsonb_build_array(id, order_id, version, event_type, event_data, created_at, source, source_id, "
    "metadata)::text FROM {table} WHERE id > %s AND id <= %s ORDER BY id, order_id, version"
)


def seals(bench: Bench) -> Iterator[Row]:
    yield from _sealing(bench)
    yield _by_size_of_log(bench)
    yield _verifying(bench)
    yield _where_to_hash(bench)
    yield _beside_an_ingest(bench)


def _sealing(bench: Bench) -> Iterator[Row]:
    """All of a log that was never sealed."""
    log = bench.log(bench.medium)
    ours, theirs, cpu = [], [], []
    with processes(1) as pool:
        for number in range(bench.rounds):
            forget_seals(log)
            sealed = pool.submit(seal, log.url, _home(bench, log, str(number))).result()
            ours.append(sealed.events / sealed.seconds)
            theirs.append(log.events / pool.submit(drain_in_order_of_ids, log.url).result())
            cpu.append(1e6 * (sealed.client_cpu + sealed.server_cpu) / sealed.events)
        forget_seals(log)
    yield Row(
        measure=f"sealing {log.events:,} events",
        unit="events/s",
        ours=ours,
        yardstick="draining COPY (SELECT the same columns ORDER BY id) TO STDOUT",
        theirs=theirs,
        note=f"one session; {median(cpu):.1f} µs of CPU an event, in the server and the client together",
    )
    for size in (bench.medium, bench.events):
        with processes(1) as pool:
            largest = bench.log(size)
            forget_seals(largest)
            sealed = pool.submit(seal, largest.url, _home(bench, largest, "memory")).result()
            bench.grew("sealing, peak memory, MB", size, sealed.peak_mb)
            bench.grew(
                "sealing, µs of CPU per event",
                size,
                1e6 * (sealed.client_cpu + sealed.server_cpu) / sealed.events,
            )
    yield Row(
        measure=f"sealing {bench.events:,} events, peak memory",
        unit="MB",
        ours=[bench.growth["sealing, peak memory, MB"][bench.events]],
        yardstick=f"on {bench.medium:,} events",
        theirs=[bench.growth["sealing, peak memory, MB"][bench.medium]],
        target=("<=", 1.1),
        note="not growing; resident set of the process that seals",
    )


def _by_size_of_log(bench: Bench) -> Row:
    """A few new events on a small and on a large log."""
    logs = [bench.log(size) for size in bench.sizes]
    times: dict[int, list[float]] = {log.size: [] for log in logs}
    for log in logs:
        with open_connection(log.url) as connection:
            seal_log(connection, Outside(_home(bench, log, "few"), _key(bench, log)))
    for number in range(bench.rounds * 3):
        for log in logs if number % 2 else reversed(logs):
            with open_connection(log.url) as connection:
                bench.extend(connection, log, bench.few)
                outside = Outside(_home(bench, log, "few"), _key(bench, log))
                started = time.perf_counter()
                seal_log(connection, outside)
                times[log.size].append(time.perf_counter() - started)
    for size, values in times.items():
        bench.grew(f"sealing {bench.few:,} new events, ms", size, 1000 * median(values))
    return Row(
        measure=f"sealing {bench.few:,} new events on {bench.events:,}",
        unit="s",
        ours=times[bench.events],
        yardstick=f"the same on {bench.small:,}",
        theirs=times[bench.small],
        target=("<=", 1.3),
        note="half of the events are of random orders that exist, half of new ones",
    )


def _verifying(bench: Bench) -> Row:
    log = bench.log(bench.events)
    outside = Outside(_home(bench, log, "few"), _key(bench, log))
    rates = []
    workers = max(2, os.cpu_count() or 2)
    for _ in range(bench.rounds):
        with open_connection(log.url) as connection:
            seal_log(connection, outside)
            started = time.perf_counter()
            found = verify(connection, outside, workers=workers)
            rates.append(found.verified / (time.perf_counter() - started))
            assert found.verdict == INTACT, found
    return Row(
        measure=f"verifying {found.verified:,} events, {workers} sessions",
        unit="events/s",
        ours=rates,
        target=(">=", 200_000),
        note="every row read, hashed, compared with its tile, and all led to the signed roots",
    )


def _where_to_hash(bench: Bench) -> Row:
    """One session each: the leaf hashes of a bucket, from the server, or of its text, by the client."""
    log = bench.log(bench.medium)
    with open_connection(log.url) as connection:
        in_server, in_client = alternate(
            bench.rounds * 3, partial(_hash, connection, _by_server), partial(_hash, connection, _by_client)
        )
    return Row(
        measure="leaf hashes of a bucket, by the server",
        unit="events/s",
        ours=in_server,
        yardstick="the leaves as text to the client, hashed there",
        theirs=in_client,
        note="the client has one processor in Python, the server one a session: so the server hashes",
    )


def _beside_an_ingest(bench: Bench) -> Row:
    file = sample(bench.scratch, bench.medium)
    alone: list[float] = []
    beside: list[float] = []
    for number in range(bench.rounds):
        for is_beside in (number % 2 == 0, number % 2 != 0):
            with bench.new_database() as url, processes(1) as pool:
                stop = bench.scratch / f"stop-{number}-{is_beside}"
                if is_beside:
                    sealing = pool.submit(seal_on_and_on, url, bench.scratch / f"beside-{number}", stop)
                started = time.perf_counter()
                done = ingest_files(url, [file])
                rate = done.appended / (time.perf_counter() - started)
                stop.touch()
                if is_beside:
                    assert sealing.result() == done.appended
                (beside if is_beside else alone).append(rate)
    return Row(
        measure=f"ingest of {done.appended:,} events while they are sealed",
        unit="events/s",
        ours=beside,
        yardstick="the same, unsealed",
        theirs=alone,
        target=(">=", 0.95),
        note="sealed once a second in another process; where both processors are busy, the CPU of sealing is "
        "what is missing",
    )


def _hash(connection: Connection, read: "partial[Leaves] | object") -> float:
    table = buckets(connection, buckets_of(connection))[3]
    events, after = 0, BEGINNING
    horizon = connection.execute("SELECT max(id::text)::uuid FROM order_events").fetchone()
    assert horizon is not None
    started = time.perf_counter()
    with connection.transaction():
        prefer_index(connection)
        while (until := next_stop(connection, table, after, horizon[0])) is not None:
            events += read(connection, table, after, until)  # type: ignore[operator]
            after = until
    return events / (time.perf_counter() - started)


def _by_server(connection: Connection, table: sql.Identifier, *range_: object) -> int:
    return len(read_leaves(connection, table, *range_).hashes) // HASH_BYTES  # type: ignore[arg-type]


def _by_client(connection: Connection, table: sql.Identifier, *range_: object) -> int:
    rows = connection.execute(sql.SQL(_TEXT).format(table=table), range_, binary=True)
    return len(b"".join(sha256(b"\0" + text.encode()).digest() for (text,) in rows)) // HASH_BYTES


def _home(bench: Bench, log: Log, name: str) -> Path:
    return bench.scratch / f"seals-{log.size}-{name}"


def _key(bench: Bench, log: Log) -> dict[str, str]:
    """The key of a log that was sealed for another measure."""
    for folder in bench.scratch.glob(f"seals-{log.size}-*"):
        if folder.name.endswith(("memory", "few")) and (folder / "seal.key").exists():
            return {"EVENTSTORE_SEAL_KEY": (folder / "seal.key").read_text()}
    return {}


def forget_seals(log: Log) -> None:
    """As if it had never been sealed."""
    with open_connection(log.url) as connection, connection.transaction():
        for table in _SEALS:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.execute("TRUNCATE seal_tiles, seal_checkpoints, seal_keys, seal_timestamps")
        connection.execute("UPDATE seal_trees SET tiles = 0, edge = '', leaves = '', ids = ''")
        for table in _SEALS:
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
