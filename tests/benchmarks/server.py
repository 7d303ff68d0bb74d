"""The server of a run, its databases, and what must be known of both to read the figures."""

import os
import platform
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from eventstore.server import embedded
from eventstore.server.urls import checked, with_database
from tests.shipped import upgrade

_SETTINGS = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "work_mem",
    "maintenance_work_mem",
    "max_wal_size",
    "max_connections",
    "random_page_cost",
    "jit",
]
_PACKAGES = ["eventstore", "psycopg", "eventsourcing", "dagster"]

#: A copy of the log without its triggers: the same columns, partitions, constraints and indexes.
_PLAIN = """
CREATE TABLE plain_events (LIKE order_events INCLUDING ALL) PARTITION BY HASH (order_id);
DO $$ BEGIN
    FOR bucket IN 0..15 LOOP
        -- Like the bucket itself, which has indexes of its own.
        EXECUTE format('CREATE TABLE plain_events_%1$s (LIKE order_events_%1$s INCLUDING ALL);
                        ALTER TABLE plain_events ATTACH PARTITION plain_events_%1$s
                        FOR VALUES WITH (MODULUS 16, REMAINDER %2$s)', lpad(bucket::text, 2, '0'), bucket);
    END LOOP;
END $$"""


class Server:
    """Makes databases with an empty log, and the yardstick's table beside it; drops them at the end."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self._prefix = f"eventstore_bench_{os.getpid()}_"
        self._made: list[str] = []

    def new_database(self) -> str:
        name = f"{self._prefix}{len(self._made)}"
        self._made.append(name)
        template = f"{self._prefix}0"
        with psycopg.connect(self.url, autocommit=True) as server:
            create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            if name == template:
                server.execute(create.format(sql.Identifier(name), sql.Identifier("template0")))
                upgrade(with_database(self.url, name))
                with psycopg.connect(with_database(self.url, name)) as connection:
                    connection.execute(_PLAIN)
                return self.new_database()
            server.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return with_database(self.url, name)

    def unmade_database(self) -> str:
        """The URL of one that somebody else is to make."""
        self._made.append(f"{self._prefix}{len(self._made)}")
        return with_database(self.url, self._made[-1])

    def drop(self, url: str) -> None:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(self.url, autocommit=True) as server:
            for database in (str(name), f"{name}_dagster"):
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                server.execute(drop.format(sql.Identifier(database)))

    def drop_all(self) -> None:
        for name in self._made:
            self.drop(with_database(self.url, name))


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    """The server that DATABASE_URL names, or an embedded one in ``folder``, which is removed in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(folder)
    scratch = (folder / f"run-{os.getpid()}").absolute()
    scratch.mkdir()
    given = os.environ.pop("DATABASE_URL", "").strip()
    os.environ["EVENTSTORE_HOME"] = str(scratch)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        url = checked(given) if given else with_database(embedded.start(scratch), "postgres")
        running = Server(url, scratch)
        try:
            yield running
        finally:
            if given:
                running.drop_all()
    finally:
        _remove(scratch)


def _remove_left_behind(folder: Path) -> None:
    for scratch in folder.glob("run-*"):
        if not psutil.pid_exists(int(scratch.name.partition("-")[2])):
            _remove(scratch)


def _remove(scratch: Path) -> None:
    embedded.stop(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


def circumstances(running: Server) -> dict[str, Any]:
    """Machine, versions and settings."""
    with psycopg.connect(running.url) as connection:
        settings: dict[str, str] = dict(
            connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", (_SETTINGS,)
            ).fetchall()
        )
        (server_version,) = connection.execute("SHOW server_version").fetchone() or ("?",)
        (data,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "data on": _filesystem(data) or "another machine",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "postgresql": server_version,
        **{package: version(package) for package in _PACKAGES},
        **{name: settings[name] for name in _SETTINGS},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _filesystem(data: str) -> str:
    """Of what kind the disk is that holds the data: figures from a RAM disk say nothing about commits."""
    mounts = [
        mount for mount in psutil.disk_partitions(all=True) if Path(data).is_relative_to(mount.mountpoint)
    ]
    if not mounts or not Path(data).is_absolute():
        return ""
    mount = max(mounts, key=lambda mount: len(mount.mountpoint))
    return f"{mount.fstype} ({mount.device})"
