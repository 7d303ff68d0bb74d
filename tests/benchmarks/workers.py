"""What runs in a process of its own."""

import resource
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from eventstore.log.connection import open_connection
from eventstore.log.feed import horizon, publish_horizon
from eventstore.orders.domain import DOMAIN, ORDERS
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal as seal_log
from tests.buckets import BUCKETS, part
from tests.shipped import replay_bucket

#: What a fold needs of an event.
_COLUMNS = "id, order_id, version, event_type, event_data, created_at, metadata ->> 'schema_version'"


class Replayed(NamedTuple):
    events: int
    seconds: float
    peak_mb: float  #: of this process since it began


def replay(url: str, bucket: int, projection: str = ORDERS.name) -> Replayed:
    """Fold one bucket into the candidate, as a backfill does."""
    started = time.perf_counter()
    with open_connection(url) as connection:
        done = replay_bucket(connection, bucket, DOMAIN.projection(projection))
    return Replayed(done.events, time.perf_counter() - started, peak_mb())


def drain(url: str, bucket: int) -> float:
    """Read the same columns in the same order and throw them away; returns the seconds."""
    started = time.perf_counter()
    with open_connection(url) as connection:
        publish_horizon(connection)
        until = horizon(connection)
        query = (
            f"COPY (SELECT {_COLUMNS} FROM {part('order_events', bucket)} WHERE id <= %s "
            "ORDER BY order_id, created_at, version) TO STDOUT"
        )
        with connection.cursor() as cursor, cursor.copy(query, (until,)) as copy:
            for _ in copy:
                pass
    return time.perf_counter() - started


def replay_on_and_on(url: str, stop: Path) -> int:
    """Replay bucket after bucket until the file ``stop`` is there; returns how many."""
    buckets = 0
    while not stop.exists():
        replay(url, buckets % 16)
        buckets += 1
    return buckets


class Sealing(NamedTuple):
    events: int
    seconds: float
    client_cpu: float  #: seconds
    server_cpu: float  #: seconds of the session's process; 0 where the server is on another machine
    peak_mb: float


def seal(url: str, home: Path) -> Sealing:
    """Seal all that is not sealed yet."""
    with open_connection(url) as connection:
        pid = connection.info.backend_pid
        server, client, started = _cpu_of(pid), time.process_time(), time.perf_counter()
        done = seal_log(connection, Outside(home, {}))
        return Sealing(
            done.events,
            time.perf_counter() - started,
            time.process_time() - client,
            _cpu_of(pid) - server,
            peak_mb(),
        )


def seal_on_and_on(url: str, home: Path, stop: Path) -> int:
    """Seal once a second until the file ``stop`` is there, and once more; returns how many events."""
    with open_connection(url) as connection:
        while not stop.exists():
            seal_log(connection, Outside(home, {}))
            time.sleep(1)
        return seal_log(connection, Outside(home, {})).size


def drain_in_order_of_ids(url: str) -> float:
    """Read all columns of the log, bucket by bucket, and throw them away; returns the seconds."""
    started = time.perf_counter()
    with open_connection(url) as connection:
        for bucket in range(BUCKETS):
            query = f"COPY (SELECT * FROM {part('order_events', bucket)} ORDER BY id) TO STDOUT"
            with connection.cursor() as cursor, cursor.copy(query) as copy:
                for _ in copy:
                    pass
    return time.perf_counter() - started


def _cpu_of(pid: int) -> float:
    try:
        used = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(used.user + used.system)


def peak_mb() -> float:
    """The largest resident set so far. On Linux, getrusage() would count the parent's from before exec()."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
