"""kill -9 in the middle of a load, two loads of one file, and memory: each in processes of their own."""

import gzip
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.ingestion.load import Ingested
from tests.shipped import ingest

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]

LOAD = """
import resource, sys
from pathlib import Path
import msgspec
from eventstore.ingestion import load
from tests.shipped import ingest
load._CHUNK_LINES = int(sys.argv[3])
done = ingest(sys.argv[1], [Path(sys.argv[2])])
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(msgspec.json.encode([done, memory]).decode())
"""


def start(url: str, path: Path, chunk: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LOAD, url, str(path), str(chunk)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def result(process: subprocess.Popen[bytes]) -> tuple[Ingested, int]:
    """What the load returned, and the kilobytes of memory that it took at most."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    return msgspec.json.decode(output, type=tuple[Ingested, int])


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.01), stop=stop_after_delay(60))
def until(condition: Callable[[], bool]) -> bool:
    return condition()


def number_of(connection: Connection, table: str) -> int:
    [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or [0]
    return int(count)


def messy_lines(event: Make, number: int) -> list[bytes]:
    random = Random(11)
    orders = [uuid4() for _ in range(number // 4)]
    lines = [event(subject=random.choice(orders)) for _ in range(number)]
    return [*lines, *random.sample(lines, number // 20), *(b"nonsense %d" % n for n in range(number // 50))]


def test_killed_in_the_middle_and_run_again_nothing_is_lost_and_nothing_there_twice(
    database_url: str, connection: Connection, event: Make, tmp_path: Path
) -> None:
    lines = messy_lines(event, 6000)
    Random(5).shuffle(lines)
    path = tmp_path / "events.ndjson.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)))

    with start(database_url, path, chunk=50) as process:
        until(lambda: number_of(connection, "order_events") > 200 or process.poll() is not None)
        process.kill()
    until(
        lambda: (
            connection.execute(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'eventstore ingest'"
            ).fetchone()
            is None
        )
    )
    assert 200 < number_of(connection, "order_events") < 6000  # it was in the middle
    before = number_of(connection, "order_events")
    done = ingest(database_url, [path])
    assert (done.read, done.appended, done.duplicates) == (6420, 6000 - before, 300 + before)

    good = [json.loads(line) for line in set(lines) if line.startswith(b"{")]
    assert len(good) == 6000
    recorded = connection.execute(
        "SELECT order_id::text, count(*), max(version), count(DISTINCT source_id) "
        "FROM order_events GROUP BY order_id"
    ).fetchall()
    expected = Counter(attributes["subject"] for attributes in good)
    assert {order: count for order, count, _, _ in recorded} == expected
    assert all(count == highest == distinct for _, count, highest, distinct in recorded)
    rejected = connection.execute("SELECT line, raw FROM rejects ORDER BY line").fetchall()
    assert rejected == [(n, line) for n, line in enumerate(lines, 1) if line.startswith(b"nonsense")]


def test_ctrl_c_ends_a_load_at_once_even_while_it_waits_for_another_session(
    database_url: str, connection: Connection, event: Make, tmp_path: Path
) -> None:
    order = uuid4()
    path = tmp_path / "events.ndjson"
    path.write_bytes(event(subject=order))

    def waits() -> bool:
        return bool(
            connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name = 'eventstore ingest' AND wait_event_type = 'Lock'"
            ).fetchone()
        )

    with psycopg.connect(database_url) as other, start(database_url, path, chunk=10) as process:
        other.execute(
            "SELECT append_events(%s, %s)", (order, json.dumps([{"type": "OrderShipped", "data": {}}]))
        )
        until(waits)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        assert process.returncode == -signal.SIGINT


def test_two_processes_load_the_same_file_at_once(
    database_url: str, connection: Connection, event: Make, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(messy_lines(event, 3000)))
    processes = [start(database_url, path, chunk) for chunk in (100, 130)]
    results = [result(process)[0] for process in processes]
    assert [done.read for done in results] == [3210, 3210]
    assert sum(done.appended for done in results) == 3000
    assert sum(done.duplicates for done in results) == 3000 + 2 * 150
    assert number_of(connection, "order_events") == 3000
    assert number_of(connection, "rejects") == 60
    assert number_of(connection, "ingested_files") == 1
    gaps = "SELECT order_id FROM order_events GROUP BY order_id HAVING count(*) <> max(version)"
    assert connection.execute(gaps).fetchall() == []


def test_memory_does_not_grow_with_the_file_nor_with_its_longest_line(
    database_url: str, event: Make, tmp_path: Path
) -> None:
    peaks = {}
    for name, copies in (("small", 1), ("large", 8)):
        path = tmp_path / f"{name}.ndjson.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(copies):
                file.write(b"\n".join(messy_lines(event, 3000)) + b"\n")
            for _ in range(copies - 1):
                for _ in range(20):
                    file.write(b" " * (1 << 20))  # lines of 20 MB
                file.write(b"\n")
        done, peaks[name] = result(start(database_url, path, chunk=1000))
        assert done.appended == 3000 * copies
    assert peaks["large"] - peaks["small"] < 12_000
