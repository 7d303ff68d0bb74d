"""Looks at the database as long as ``make up`` runs, and starts the embedded one again when it died."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg

from eventstore.server import embedded
from eventstore.server.errors import ServerError

_POLL_S = 0.5
_BOUND_LOG_S = 60
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
# libpq's: a connection whose other end is gone without a word is given up after ten seconds, too.
_TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "tcp_user_timeout": 10_000,
}

Say = Callable[[str], None]


class DatabaseWatch:
    """A thread that asks the database all the time, by a connection of its own.

    ``home`` is that of the embedded server, or None for a server that is not ours to start.
    """

    def __init__(self, url: str, home: Path | None, say: Say) -> None:
        self.serving = Event()
        self.serving.set()
        #: Somebody stopped the embedded server, on purpose: it is not started again.
        self.stopped = Event()
        self._url, self._home, self._say = url, home, say
        self._stop_before = embedded.last_stop(home) if home else 0
        self._end = Event()
        self._connection: psycopg.Connection[Any] | None = None
        self._why = ""

    def start(self) -> None:
        """Begin to look."""
        Thread(target=self._run, daemon=True, name="database watch").start()

    def _run(self) -> None:
        bounded_at = 0.0
        while not self._end.wait(_POLL_S) and not self._is_stopped():
            if not self._answers():
                self._sit_out()
            if self._home and time.monotonic() - bounded_at > _BOUND_LOG_S:
                embedded.bound_log(self._home)
                bounded_at = time.monotonic()

    def end(self) -> None:
        """Look no longer. Returns at once; a start that goes on harms nobody."""
        self._end.set()

    def _is_stopped(self) -> bool:
        if self._home and embedded.last_stop(self._home) != self._stop_before:
            self.serving.clear()
            self.stopped.set()
        return self.stopped.is_set()

    def _answers(self) -> bool:
        """By the connection of the last time, or by a new one: sessions may be ended for many reasons."""
        for _ in range(2):
            try:
                self._connect().execute("SELECT 1")
            except psycopg.Error as error:
                self._connection, self._why = None, _one_line(error)
            else:
                return True
        return False

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                prepare_threshold=None,
                application_name="make up",
                **_TIMEOUTS,  # type: ignore[arg-type]
            )
        return self._connection

    def _sit_out(self) -> None:
        """From the first question without an answer until the database serves again."""
        if self._is_stopped():
            return
        self.serving.clear()
        began = time.monotonic()
        if self._home:
            self._say("PostgreSQL is gone; starting it again …")
        else:
            self._say(f"The database is gone; waiting for it: {self._why}")
        told = set[str]()
        pause = _PAUSE_S
        while not self._end.is_set() and not self._is_stopped():
            why = self._bring_back()
            if why is None:
                self._say(f"{self._name} serves again, after {time.monotonic() - began:.1f} s.")
                self.serving.set()
                return
            if self._home and why not in told:  # a reason once, however often it is tried
                self._say(f"{why}; trying again")
                told.add(why)
            self._end.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _bring_back(self) -> str | None:
        """None if it serves, else why not."""
        try:
            if self._home:
                embedded.start(self._home)
        except (ServerError, psycopg.Error, OSError) as error:
            return _one_line(error)
        return None if self._answers() else self._why

    @property
    def _name(self) -> str:
        return "PostgreSQL" if self._home else "The database"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
