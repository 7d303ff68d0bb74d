"""Servers of other versions than the embedded one, where they are installed."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import quote

import psycopg
import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from eventstore.server import cluster
from eventstore.server.backup.programs import server_folder
from eventstore.server.errors import ServerError


@contextmanager
def server_of(version: int) -> Iterator[str]:
    """A new server of that version in a folder of the test session; the URL of its maintenance database."""
    try:
        programs = server_folder(version)
    except ServerError as error:
        pytest.skip(str(error))
    data = Path(mkdtemp(prefix=f"server-{version}-", dir=os.environ["EVENTSTORE_TEST_FOLDER"])) / "data"
    data.mkdir(mode=0o700)
    cluster.give_to_server(data)
    try:
        with serving(data, programs) as url:
            yield url
    finally:
        shutil.rmtree(data.parent, ignore_errors=True)


@contextmanager
def serving(data: Path, programs: Path) -> Iterator[str]:
    """Serve a data folder, which is made first where it is empty."""
    user = cluster.as_owner_of(data)
    if not any(data.iterdir()):
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            **user,
        )
    settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "wal_level=replica"]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, "-k", data, *settings],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **user,
    )
    try:
        url = f"postgresql://admin@/postgres?host={quote(str(data))}&port=5432"
        _until_it_serves(url)
        yield url
    finally:
        server.send_signal(2)
        server.wait(60)


@retry(
    retry=retry_if_exception_type(psycopg.OperationalError), wait=wait_fixed(0.1), stop=stop_after_delay(60)
)
def _until_it_serves(url: str) -> None:
    psycopg.connect(url).close()
