"""Sixteen writers on the primary, a reader on a hot standby, kill -9 of either: each event is read once."""

import multiprocessing
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import psycopg

from eventstore.log import feed
from eventstore.log.errors import EventStoreError
from tests.log import journals
from tests.log.standbys import Connection, Server, eventually, primary_server, standby_of

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


def run(primary: Server, standby: Server, folder: Path, kills: int) -> tuple[list[UUID], list[UUID]]:
    """What the reader of the feed and the one of ``id > last`` were given on the standby in the end."""
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
    publisher, reader, plain = Publisher(primary), Reader(standby), Reader(standby, plain=True)
    threads = (publisher, reader, plain)
    try:
        for process in processes:
            process.start()
        for thread in threads:
            thread.start()
        eventually(lambda: len(reader.seen) > 300)
        for kill in range(kills):
            victim = (standby, primary)[kill % 2]
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


def test_each_acknowledged_event_is_read_once_on_a_standby_whichever_server_is_killed(tmp_path: Path) -> None:
    with primary_server() as primary, standby_of(primary) as standby:
        seen, plain = run(primary, standby, tmp_path, kills=6)
        log = log_of(primary)
    acknowledged = journals.acknowledged(tmp_path)
    assert len(acknowledged) > 500
    assert acknowledged <= set(log)
    assert Counter(seen) == Counter(log)
    assert set(log) - set(plain), "the plain reader lost nothing: this test could not fail"


def test_the_published_horizon_alone_would_lose_events_on_a_standby(tmp_path: Path) -> None:
    with primary_server() as primary:
        with primary.connect() as connection:
            row = connection.execute("SELECT pg_get_functiondef('note_horizon'::regproc)").fetchone()
            assert row is not None
            scan = "scanned := horizon_ms()"
            assert scan in row[0]
            connection.execute(row[0].replace(scan, "scanned := pg_sequence_last_value('feed_horizon')"))
            feed.publish_horizon(connection)
        with standby_of(primary) as standby:
            seen, _ = run(primary, standby, tmp_path, kills=0)
            assert set(log_of(primary)) - set(seen)
