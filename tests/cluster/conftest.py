"""One Ray cluster, one Dagster and one log for all of these tests."""

import csv
import gzip
import os
import socket
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from eventstore.server.urls import with_database

if TYPE_CHECKING:
    from tests.cluster.driving import Cluster, Dagster

Truth = dict[UUID, tuple[str, Decimal, str, int]]
PASSWORD = "s3cret-of-the-cluster"
_NODES, _CPUS = 2, 1


def _is_chosen(order: str) -> bool:
    """One order in sixteen: enough for every bucket, and small."""
    return order.endswith("7")


@pytest.fixture(scope="session")
def truth(shared_data: Path) -> Truth:
    with gzip.open(shared_data / "olist" / "truth.csv.gz", "rt", newline="") as file:
        return {
            UUID(row["order_id"]): (
                row["customer_id"],
                Decimal(row["amount"]),
                row["status"],
                int(row["events"]),
            )
            for row in csv.DictReader(file)
            if _is_chosen(row["order_id"])
        }


@pytest.fixture(scope="session")
def events(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the events of these orders."""
    file = tmp_path_factory.mktemp("events") / "olist.ndjson"
    with (
        gzip.open(shared_data / "olist" / "events.ndjson.gz", "rt") as lines,
        file.open("w", encoding="utf-8") as out,
    ):
        out.writelines(line for line in lines if _is_chosen(line.partition('"subject":"')[2][:36]))
    a_while_ago = time.time() - 60
    os.utime(file, (a_while_ago, a_while_ago))
    return file


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def secret_url(server_url: str) -> Iterator[str]:
    """A database of these tests, whose URL holds a password."""
    name = f"eventstore_test_{os.environ['EVENTSTORE_TEST_SESSION']}_cluster"
    role = f"login_{os.getpid()}"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(
            sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(role), PASSWORD)
        )
        try:
            parts = urlsplit(with_database(server_url, name))
            login = f"{role}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"
            yield urlunsplit(parts._replace(netloc=login))
        finally:
            for database in (name, f"{name}_dagster"):
                server.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
                )
            server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.fixture(scope="session")
def environment(home: Path, secret_url: str) -> dict[str, str]:
    from pipelines.cluster.token import made_token  # noqa: PLC0415

    os.environ["EVENTSTORE_HOME"] = str(home)
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(made_token())}
    os.environ.update(token)  # this process asks the head too
    ours = {"EVENTSTORE_HOME": str(home), "DATABASE_URL": secret_url, "COLUMNS": "300", **token}
    # A node notices sooner that its head is gone: the tests take less time, nothing else changes.
    return dict(os.environ) | ours | {"RAY_gcs_rpc_server_reconnect_timeout_s": "20"}


@pytest.fixture(scope="session")
def cluster(environment: dict[str, str], home: Path) -> Iterator["Cluster"]:
    from pipelines.cluster.local import LocalCluster  # noqa: PLC0415
    from pipelines.log_file import LogFile  # noqa: PLC0415
    from tests.cluster.driving import Cluster  # noqa: PLC0415

    log = LogFile(home / "ray.log")
    running = Cluster(LocalCluster(_NODES, _CPUS, free_port(), environment, log, print))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def dagster(cluster: "Cluster", home: Path, environment: dict[str, str], events: Path) -> Iterator["Dagster"]:
    """With the events in its landing folder."""
    from tests.cluster.driving import dagster_up  # noqa: PLC0415

    (home / "landing").mkdir()
    (home / "landing" / "olist.ndjson").write_bytes(events.read_bytes())
    settings = environment | {"EVENTSTORE_RAY_ADDRESS": cluster.address}
    with dagster_up(home, free_port(), settings) as running:
        yield running


@pytest.fixture
def database(dagster: "Dagster", secret_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(secret_url, autocommit=True) as connection:
        yield connection


def orders_of(connection: psycopg.Connection[Any]) -> Truth:
    """What the table says, in the form of the truth."""
    rows = connection.execute("SELECT order_id, customer_id, amount, status, version FROM orders").fetchall()
    return {row[0]: (str(row[1]), row[2], row[3], row[4]) for row in rows}
