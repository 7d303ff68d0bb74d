"""Sixteen writers on a primary, readers on its replica, kill -9 of either."""

import multiprocessing
import random
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg

from eventstore.log import feed
from eventstore.log.errors import EventStoreError
from tests.log import journals
from tests.log.standbys import Connection, Server, eventually

_WRITERS, _PROCESSES = 16, 4


class Reader(threading.Thread):
    """Follows a server, from the last id that it was given, across its restarts."""

    def __init__(self, server: Server, *, plain: bool = False) -> None:
        super().__init__(daemon=True)
        self.seen: list[UUID] = []
        self._server, self._plain = server, plain
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            with suppress(psycopg.Error, EventStoreError), self._server.connect() as connection:
                while not self._stopped.is_set():
                    self.seen += self._page(connection)
                    time.sleep(0.01)
            time.sleep(0.05)

    def _page(self, connection: Connection) -> list[UUID]:
        after = self.seen[-1] if self.seen else feed.BEGINNING
        if not self._plain:
            return [event.id for event in feed.read(connection, after, 50)]
        rows = connection.execute("SELECT id FROM order_events WHERE id > %s ORDER BY id LIMIT 50", (after,))
        return [row[0] for row in rows]

    def stop(self) -> None:
        self._stopped.set()
        self.join()


class Publisher(threading.Thread):
    """What a follower on the primary does, or ``make up``."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            with suppress(psycopg.Error, EventStoreError), self._server.connect() as connection:
                while not self._stopped.wait(0.03):
                    feed.publish_horizon(connection)

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def run(primary: Server, replica: Server, folder: Path, kills: int) -> tuple[list[UUID], list[UUID]]:
    """What the reader of the feed and the one of ``id > last`` were given on the replica in the end."""
    stop = folder / "stop"
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(
            target=journals.write_until,
            args=(stop, primary.url, folder / f"journal{number}.txt", _WRITERS // _PROCESSES, number),
        )
        for number in range(_PROCESSES)
    ]
    chance = random.Random(16)
    publisher, reader, plain = Publisher(primary), Reader(replica), Reader(replica, plain=True)
    threads = (publisher, reader, plain)
    try:
        for process in processes:
            process.start()
        for thread in threads:
            thread.start()
        eventually(lambda: len(reader.seen) > 300)
        for kill in range(kills):
            victim = (replica, primary)[kill % 2]
            at = len(reader.seen)
            victim.kill()
            time.sleep(chance.random() * 0.2)
            victim.start()
            eventually(lambda at=at: len(reader.seen) > at + 50)  # type: ignore[misc]
        stop.touch()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * _PROCESSES
        with primary.connect() as connection:
            time.sleep(0.15)
            feed.publish_horizon(connection)
            row = connection.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
        eventually(lambda: (reader.seen[-1],) == row)
    finally:
        stop.touch()
        for thread in threads:
            thread.stop()
        for process in processes:
            process.join()
    return reader.seen, plain.seen


def log_of(server: Server) -> list[UUID]:
    with server.connect() as connection:
        return [row[0] for row in connection.execute("SELECT id FROM order_events")]
