"""One Ray cluster, one Dagster and one log for all of these tests."""

import json
import os
import secrets
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from uuid import NAMESPACE_URL, UUID, uuid5

import psycopg
import pytest
from psycopg import sql

from eventstore.server.urls import with_database

if TYPE_CHECKING:
    from tests.cluster.driving import Cluster, Dagster

Truth = dict[UUID, tuple[str, Decimal, str, int]]
PASSWORD = "s3cret-of-the-cluster"
_NODES, _CPUS = 2, 1
# Read where ray is imported: before any test is.
os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})


_ORDERS = 1600
_STEPS: list[tuple[str, str, dict[str, str]]] = [
    ("OrderCreated", "Created", {"currency": "EUR"}),
    ("OrderPaid", "Paid", {"currency": "EUR"}),
    ("OrderShipped", "Shipped", {}),
    ("OrderDelivered", "Delivered", {}),
]


def _made_orders() -> Iterator[tuple[UUID, str, Decimal, int]]:
    """Order, customer, amount and how many of the steps it has gone."""
    for number in range(_ORDERS):
        order = uuid5(NAMESPACE_URL, f"order {number}")
        customer = str(uuid5(NAMESPACE_URL, f"customer {number % 100}"))
        yield order, customer, Decimal(number + 1) / 4, 1 + number % len(_STEPS)


@pytest.fixture(scope="session")
def truth() -> Truth:
    """What each order must be, by how it was made."""
    return {
        order: (customer, amount.quantize(Decimal("0.01")), _STEPS[steps - 1][1], steps)
        for order, customer, amount, steps in _made_orders()
    }


@pytest.fixture(scope="session")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the events of these orders."""
    file = tmp_path_factory.mktemp("events") / "orders.ndjson"
    with file.open("w", encoding="utf-8") as out:
        for order, customer, amount, steps in _made_orders():
            for step, (kind, _, fixed) in enumerate(_STEPS[:steps]):
                money = {"amount": f"{amount:.2f}"} if "currency" in fixed else {}
                data = {**fixed, **money, **({"customer_id": customer} if step == 0 else {})}
                event = {
                    **{"specversion": "1.0", "id": f"{order}/{step}", "source": "/cluster", "type": kind},
                    **{"subject": str(order), "time": f"2026-03-0{1 + step}T12:00:00Z", "data": data},
                }
                out.write(f"{json.dumps(event)}\n")
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
    os.environ["EVENTSTORE_HOME"] = str(home)
    ours = {"EVENTSTORE_HOME": str(home), "DATABASE_URL": secret_url, "COLUMNS": "300"}
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
    (home / "landing" / "orders.ndjson").write_bytes(events.read_bytes())
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
