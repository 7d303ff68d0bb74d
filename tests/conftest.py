"""One PostgreSQL per test session, and for each test a fresh copy of one migrated database.

The server is the one that DATABASE_URL names (its role must be able to create databases), else an embedded
one. Of an existing server only databases whose names begin with ``eventstore_test_`` are touched.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import psutil
import psycopg
import pytest
from psycopg import sql

from eventstore.server import embedded
from eventstore.server.urls import checked, with_database

_ROOT = Path(__file__).parents[1]
_TEMPLATE_LOCK = 0x45535432
#: Set by the first process of the session, inherited by the workers of pytest-xdist.
_SESSION, _FOLDER, _SERVER = "EVENTSTORE_TEST_SESSION", "EVENTSTORE_TEST_FOLDER", "EVENTSTORE_TEST_SERVER"

# Whatever the terminal of the tests: one that means another says so.
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)
os.environ["TERM"] = "xterm-256color"

# What a script starts with & ignores Ctrl-C, and so would every process of the tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, max_examples=50)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"), derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--buckets", type=int, help="Split the log of the tests into so many, not into 16.")


def pytest_configure(config: pytest.Config) -> None:
    """Before anything of ours is imported: no test may find the user's home folder or database."""
    if hasattr(config, "workerinput"):
        return
    _remove_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=f"eventstore-tests-{os.getpid()}-", dir=_fast_folder()))
    os.environ[_SESSION] = uuid4().hex[:8]
    os.environ[_FOLDER] = str(folder)
    os.environ[_SERVER] = os.environ.pop("DATABASE_URL", "").strip()
    for name in ("DATABASE_URL_FILE", "PORT"):
        os.environ.pop(name, None)
    os.environ["EVENTSTORE_HOME"] = str(folder / "home")
    for name in ("READ_URL", "EVENTSTORE_BACKUPS", "EVENTSTORE_BUCKETS"):
        os.environ.pop(name, None)
    if buckets := config.getoption("--buckets"):
        os.environ["EVENTSTORE_BUCKETS"] = str(buckets)


def pytest_unconfigure(config: pytest.Config) -> None:
    """When all workers have ended."""
    if hasattr(config, "workerinput"):
        return
    if os.environ[_SERVER]:
        _drop_databases(checked(os.environ[_SERVER]), _prefix())
    _remove_folder(Path(os.environ[_FOLDER]))


def _fast_folder() -> Path:
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2 * 2**30
    return memory if roomy else Path(tempfile.gettempdir())


def _remove_folder(folder: Path) -> None:
    for home in (folder, folder / "home"):
        embedded.stop(home)
    shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    """Folders, perhaps with a running server, of test sessions that were killed."""
    for folder in _fast_folder().glob("eventstore-tests-*"):
        is_ours = folder.stat().st_uid == os.getuid()
        if is_ours and not psutil.pid_exists(int(folder.name.split("-")[2])):
            _remove_folder(folder)


def _prefix() -> str:
    return f"eventstore_test_{os.environ[_SESSION]}_"


def _drop(server: psycopg.Connection[Any], name: str) -> None:
    server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _drop_databases(url: str, prefix: str) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        rows = server.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (prefix,))
        for (name,) in rows.fetchall():
            _drop(server, name)


@pytest.fixture(scope="session")
def server_url() -> str:
    """The server of this session, shared by all workers; the URL names a maintenance database."""
    if os.environ[_SERVER]:
        return checked(os.environ[_SERVER])
    url = with_database(embedded.start(Path(os.environ[_FOLDER])), "postgres")
    with psycopg.connect(url, autocommit=True) as server:  # nothing here outlives the session
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            server.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.SQL(name)))
        server.execute("SELECT pg_reload_conf()")
    return url


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a migrated database that nobody is connected to; made by the first worker to ask."""
    from eventstore.server.settings import given_buckets  # noqa: PLC0415
    from tests.shipped import upgrade  # noqa: PLC0415

    name = _prefix() + "template"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(%s)", (_TEMPLATE_LOCK,))
        if server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            building = _prefix() + "building"
            _drop(server, building)
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(building)))
            upgrade(with_database(server_url, building), buckets=given_buckets())
            server.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(building), sql.Identifier(name)
                )
            )
    return name


class _Factory:
    def __init__(self, server_url: str, template: str, server: psycopg.Connection[Any]) -> None:
        self._server_url, self._template, self._server = server_url, template, server
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        self._names = (f"{_prefix()}{worker}_{number}" for number in count())
        self._used: list[str] = []
        self._in_use: list[str] = []

    def make(self, *, migrated: bool = True) -> str:
        name = next(self._names)
        self._in_use.append(name)
        source = self._template if migrated else "template0"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._server.execute(statement.format(sql.Identifier(name), sql.Identifier(source)))
        return with_database(self._server_url, name)

    def end_test(self) -> None:
        """Drop what the test *before* used: a server waits 100 ms for connections that are just closing."""
        for name in self._used:
            _drop(self._server, name)
            _drop(self._server, f"{name}_dagster")
        self._used, self._in_use = self._in_use, []


@pytest.fixture(scope="session")
def _factory(server_url: str, template: str) -> Iterator[_Factory]:
    with psycopg.connect(server_url, autocommit=True) as server:
        yield _Factory(server_url, template, server)


@pytest.fixture
def new_database(_factory: _Factory) -> Iterator[Callable[..., str]]:
    """Makes further databases: ``new_database()`` migrated, ``new_database(migrated=False)`` empty."""
    yield _factory.make
    _factory.end_test()


@pytest.fixture
def database_url(new_database: Callable[..., str]) -> str:
    """A fresh migrated database of this test alone."""
    return new_database()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to ``database_url``."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def store(database_url: str) -> Iterator[Any]:
    """``eventstore.connect(database_url)``."""
    import eventstore  # noqa: PLC0415

    store = eventstore.connect(database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Test data that lies beside the repository, not in it."""
    folder = _ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the test data of {folder}")
    return folder
