"""What the measures share: sizes, rounds, and logs of a size, each made once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from eventstore.log.connection import Connection, open_connection
from tests.benchmarks import generate
from tests.benchmarks.server import Server
from tests.benchmarks.workers import peak_mb, replay
from tests.buckets import BUCKETS
from tests.shipped import promote_projection as promote
from tests.shipped import refresh


@dataclass
class Log:
    """A database whose log was generated."""

    url: str
    size: int  #: as asked for
    events: int
    orders: int
    projected: bool = False


@dataclass
class Bench:
    server: Server
    events: int  #: of the largest log; the others have a tenth and a hundredth of it
    rounds: int
    seconds: float  #: a round of a throughput lasts
    clients: int  #: that append at once
    say: Callable[[str], None]
    growth: dict[str, dict[int, float]] = field(default_factory=dict)  #: cost -> size of the log -> value
    _logs: dict[int, Log] = field(default_factory=dict)

    @property
    def small(self) -> int:
        return self.events // 100

    @property
    def medium(self) -> int:
        return self.events // 10

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.small, self.medium, self.events

    @property
    def few(self) -> int:
        """1,000 events on a log of 10 million."""
        return max(10, self.events // 10_000)

    @property
    def scratch(self) -> Path:
        return self.server.folder

    def log(self, size: int) -> Log:
        if size not in self._logs:
            self.say(f"making a log of {size:,} events")
            url = self.server.new_database()
            events = generate.fill(url, size)
            orders = max(1, round(size / generate.EVENTS_PER_ORDER))
            self._logs[size] = Log(url, size, events, orders)
        return self._logs[size]

    def projected(self, size: int) -> Log:
        """A log of which all is in ``orders``."""
        log = self.log(size)
        if not log.projected:
            self.say(f"folding {size:,} events into orders")
            with processes(2) as pool:
                list(pool.map(replay, [log.url] * BUCKETS, range(BUCKETS)))
            self.promote(log)
        return log

    def promote(self, log: Log) -> float:
        """Make the replay that stands the live table; returns the seconds."""
        with open_connection(log.url) as connection:
            promoted = promote(connection)
            assert promoted is not None, "the replay is not complete"
            refresh(connection)
            connection.execute("VACUUM ANALYZE orders")
            connection.execute("CHECKPOINT")
        log.projected = True
        return promoted.seconds

    def extend(self, connection: Connection, log: Log, events: int) -> int:
        """Append about that many new events; returns how many."""
        appended, log.orders = generate.extend(connection, log.orders, events)
        return appended

    def grew(self, cost: str, size: int, value: float) -> None:
        self.growth.setdefault(cost, {})[size] = value

    @contextmanager
    def unmade_database(self) -> Iterator[str]:
        """The URL of a database that is not there yet, and is dropped in the end."""
        url = self.server.unmade_database()
        try:
            yield url
        finally:
            self.server.drop(url)

    @contextmanager
    def new_database(self) -> Iterator[str]:
        url = self.server.new_database()
        try:
            yield url
        finally:
            self.server.drop(url)


@contextmanager
def processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started already. Spawned: a forked one would count our memory as its own."""
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(peak_mb) for _ in range(count)]:
            future.result()
        yield pool
