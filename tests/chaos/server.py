"""The server under test: an embedded PostgreSQL of its own, with every setting that makes it safe."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import psycopg
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from eventstore.server import embedded
from eventstore.server.errors import ServerError
from tests.chaos.stage import Connection
from tests.shipped import upgrade

_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "max_prepared_transactions": "50",
    "wal_writer_delay": "10s",  # what is not flushed by somebody stays unflushed
    "checkpoint_timeout": "30s",
    "deadlock_timeout": "200ms",
}


class Server:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = embedded.start(home)
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in _SETTINGS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        embedded.stop(home)
        embedded.start(home)
        upgrade(self.url)
        self._furthest = 0

    def connect(self) -> Connection:
        return psycopg.connect(self.url, autocommit=True, application_name="chaos")

    def stop(self) -> None:
        embedded.stop(self.home)

    @retry(retry=retry_if_exception_type(ServerError), wait=wait_fixed(0.2), stop=stop_after_delay(60))
    def start(self) -> float:
        """Returns how long it took until it served again."""
        begin = time.monotonic()
        embedded.start(self.home)
        return time.monotonic() - begin

    def crash(self, chance: Random) -> str:
        """Nothing that is only in the server's memory survives. Returns how it was done."""
        how = chance.choice((self._kill_all, self._stop_immediately, self._kill_a_backend))
        how()
        return str(how.__doc__)

    def _kill_all(self) -> None:
        """kill -9 of every process of the server"""
        postmaster = self._postmaster()
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            _kill(process)
        psutil.wait_procs(processes, timeout=30)

    def _stop_immediately(self) -> None:
        """immediate stop"""
        postmaster = self._postmaster()
        postmaster.send_signal(signal.SIGQUIT)
        psutil.wait_procs([postmaster], timeout=30)

    def _kill_a_backend(self) -> None:
        """kill -9 of one backend, after which the server restarts by itself"""
        with self.connect() as connection, self.connect() as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            with suppress(psycopg.OperationalError):
                while True:
                    connection.execute("SELECT 1")
                    time.sleep(0.005)

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]))

    def jump(self, connection: Connection, by_ms: int) -> None:
        """Set the clock of this database alone to so much before or beyond the furthest that it ever was.
        Each call of it is some milliseconds off as well."""
        offset_ms = self._furthest + by_ms
        self._furthest = max(self._furthest, offset_ms)
        connection.execute(
            "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN "
            f"floor(date_part('epoch', clock_timestamp()) * 1000)::bigint + ({offset_ms}) "
            "+ floor(random() * 40)::bigint - 20"
        )


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()
