"""Tells replicas, and the folder of backups, how far the log is complete: as long as `make up` runs."""

from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import psycopg

from eventstore.log.connection import Connection, open_connection
from eventstore.log.epochs import current_epoch
from eventstore.log.errors import EventStoreError
from eventstore.log.freshness import tell_replicas
from eventstore.server.backup import catalogue

_EVERY_S = 1.0


class HorizonKeeper:
    """A thread with a connection of its own. While the database is away it waits: others say that."""

    def __init__(self, url: str, backups: Path | None) -> None:
        self._url, self._backups = url, backups
        self._end = Event()
        self._known = ""

    def start(self) -> None:
        Thread(target=self._run, daemon=True, name="horizon").start()

    def end(self) -> None:
        self._end.set()

    def _run(self) -> None:
        while not self._end.is_set():
            with suppress(EventStoreError, psycopg.Error), open_connection(self._url) as connection:
                while not self._end.wait(_EVERY_S):
                    tell_replicas(connection)
                    with suppress(OSError):  # of a folder that is away the archive complains
                        self._remember(connection)
            self._end.wait(_EVERY_S)

    def _remember(self, connection: Connection) -> None:
        if self._backups is None or not self._backups.is_dir():
            return
        row = connection.execute("SELECT uuidv7_ceiling(horizon_ms) FROM scanned_horizon").fetchone()
        if row and str(row[0]) != self._known:
            catalogue.know(self._backups, current_epoch(connection), str(row[0]))
            self._known = str(row[0])
