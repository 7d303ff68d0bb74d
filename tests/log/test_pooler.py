"""Behind a pooler: one that shares connections of the server is refused, one that does not is welcome."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

import eventstore
from eventstore import OrderShipped
from eventstore.log import pooler
from eventstore.log.schema import migrate
from tests.buckets import BUCKETS
from tests.shipped import refresh, replay_bucket

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="needs the program pgbouncer")

Pooled = Callable[[str, int], str]


@pytest.fixture
def pooled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pooled]:
    """``pooled("session", 1)`` starts a pgbouncer before the test's database and returns its URL there."""
    monkeypatch.setattr(pooler, "_looked_at", set())
    server = conninfo_to_dict(database_url)
    user, password = server.get("user", "postgres"), server.get("password")
    started: list[subprocess.Popen[bytes]] = []
    folder = Path(tempfile.mkdtemp(prefix="eventstore-pgbouncer-"))

    def start(mode: str, size: int) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        target = {name: server.get(name) for name in ("host", "port", "dbname")} | {"user": user}
        if password:
            target["password"] = password
        folder.chmod(0o755)
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nshop = {' '.join(f'{name}={value}' for name, value in target.items() if value)}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n"
        )
        command = [str(PGBOUNCER), "-q", str(folder / "pgbouncer.ini")]
        started.append(
            subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **_not_as_root(str(target["host"] or "")),
            )
        )
        url = f"postgresql://{user}@127.0.0.1:{port}/shop"
        answers(url)
        return url

    yield start
    for process in started:
        process.kill()
        process.wait()
    shutil.rmtree(folder)


def _not_as_root(socket_folder: str) -> dict[str, Any]:
    """As who may connect to the server: a socket in a data folder is for its owner only."""
    if os.getuid() != 0:
        return {}
    owner = Path(socket_folder).stat() if socket_folder.startswith("/") else None
    if owner is None or owner.st_uid == 0:
        return {"user": "nobody", "group": "nogroup", "extra_groups": []}
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


@retry(
    retry=retry_if_exception_type(psycopg.OperationalError),
    stop=stop_after_delay(10),
    wait=wait_fixed(0.1),
    reraise=True,
)
def answers(url: str) -> None:
    psycopg.connect(url, connect_timeout=5).close()


@pytest.mark.parametrize("size", [1, 20])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_is_refused_with_the_setting_that_mends_it(
    pooled: Pooled, mode: str, size: int
) -> None:
    url = pooled(mode, size)
    for use in (eventstore.connect, migrate.upgrade):
        with pytest.raises(eventstore.DatabaseUnavailableError, match=r'pool_mode = session .*"shop"'):
            use(url)


def test_a_pooler_that_gives_each_client_a_server_of_its_own_is_as_good_as_none(pooled: Pooled) -> None:
    order = uuid4()
    with eventstore.connect(pooled("session", 20)) as store:
        store.append(order, [OrderShipped()])
        with store.connection() as connection:
            refresh(connection)
            for bucket in range(BUCKETS):  # needs two sessions at once
                replay_bucket(connection, bucket)
        assert [event.order_id for event in store.subscribe("billing", follow=False)] == [order]


def test_where_there_is_room_for_one_client_it_is_let_in_within_seconds(pooled: Pooled) -> None:
    with eventstore.connect(pooled("session", 1)) as store:
        store.append(uuid4(), [OrderShipped()])


def test_it_is_looked_for_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooler, "_looked_at", set())
    eventstore.connect(database_url).close()
    assert len(pooler._looked_at) == 1
    monkeypatch.setattr(pooler, "_ask", lambda _: pytest.fail("asked again"))
    with eventstore.connect(database_url) as store:
        store.append(uuid4(), [OrderShipped()])
