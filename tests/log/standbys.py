"""A primary and a hot standby that streams from it: servers to be killed, restarted and promoted."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import psutil
import psycopg
from tenacity import retry, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from eventstore.log.connection import open_connection
from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.schema import migrate
from eventstore.server import embedded
from eventstore.server.cluster import program
from eventstore.server.errors import ServerError

Connection = psycopg.Connection[Any]
T = TypeVar("T")


class Server:
    """An embedded server with its database ``eventstore``."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = embedded.start(home)

    @retry(
        retry=retry_if_exception_type(DatabaseUnavailableError),
        wait=wait_fixed(0.05),
        stop=stop_after_delay(60),
    )
    def connect(self) -> Connection:
        return open_connection(self.url)

    @retry(retry=retry_if_exception_type(ServerError), wait=wait_fixed(0.2), stop=stop_after_delay(60))
    def start(self) -> None:
        embedded.start(self.home)

    def kill(self) -> None:
        """kill -9 of all its processes."""
        postmaster = psutil.Process(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]))
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def stop(self) -> None:
        embedded.stop(self.home)


@contextmanager
def primary_server() -> Iterator[Server]:
    """A migrated primary. Nothing of it outlives the test session."""
    home = Path(mkdtemp(prefix="primary-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    server = Server(home)
    try:
        with server.connect() as connection:
            for setting in (
                "wal_keep_size = '1GB'",
                "wal_level = logical",
                "wal_retrieve_retry_interval = '100ms'",
            ):
                connection.execute(f"ALTER SYSTEM SET {setting}")
        server.stop()
        server.start()
        migrate.upgrade(server.url)
        yield server
    finally:
        server.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """A hot standby that streams from the primary; it has what the primary has now."""
    home = Path(mkdtemp(prefix="standby-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    data = home / "postgres"
    options = ["--checkpoint=fast", "--write-recovery-conf"]
    subprocess.run(
        [program("pg_basebackup"), "-d", primary.url, "-D", data, *options], check=True, capture_output=True
    )
    owner = (primary.home / "postgres").stat()
    for path in [data, *data.rglob("*")]:
        shutil.chown(path, owner.st_uid, owner.st_gid)
    try:
        yield Server(home)
    finally:
        embedded.stop(home)
        shutil.rmtree(home, ignore_errors=True)


def promote(standby: Server) -> None:
    with standby.connect() as connection:
        assert connection.execute("SELECT pg_promote()").fetchone() == (True,)


def caught_up(primary: Connection, standby: Connection) -> None:
    """Wait until the standby has replayed what the primary has written so far."""
    (until,) = primary.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or (None,)

    def replayed() -> bool:
        row = standby.execute("SELECT pg_last_wal_replay_lsn() >= %s", (until,)).fetchone()
        return row == (True,)

    eventually(replayed)


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.02), stop=stop_after_delay(60))
def eventually(condition: Callable[[], T]) -> T:
    return condition()
