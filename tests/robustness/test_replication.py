"""The log in another database by logical replication: every row arrives, and everything runs there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tenacity import retry, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from eventstore.server import embedded
from eventstore.server.urls import with_database
from tests.robustness import old_release
from tests.robustness.everything import run_everything
from tests.robustness.naive import Given
from tests.robustness.old_release import fingerprint, waiting
from tests.robustness.senders import append_good
from tests.shipped import upgrade

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Connection]:
    """A server of its own, whose write-ahead log can be decoded."""
    home = Path(os.environ["EVENTSTORE_TEST_FOLDER"]) / f"logical-{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    url = with_database(embedded.start(home), "postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_level = logical")
    embedded.stop(home)
    embedded.start(home)
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection
    embedded.stop(home)


@pytest.fixture
def database(server: Connection) -> Callable[[str], str]:
    """Makes an empty database of that name."""

    def make(name: str) -> str:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return with_database(f"postgresql://postgres@/?host={server.info.host}&port=5432", name)

    return make


@retry(retry=retry_if_result(lambda same: not same), wait=wait_fixed(0.05), stop=stop_after_delay(60))
def arrived(publisher: str, subscriber: str) -> bool:
    return fingerprint(publisher) == fingerprint(subscriber)


@retry(retry=retry_if_exception_type(psycopg.Error), wait=wait_fixed(0.05), stop=stop_after_delay(60))
def readable(subscriber: Connection) -> bool:
    return subscriber.execute("SELECT horizon_ms()").fetchone() is not None


@pytest.mark.parametrize("revision", ["0003", "head"])
@pytest.mark.parametrize("via_root", [True, False], ids=["root", "partitions"])
def test_every_row_arrives_and_everything_runs(
    database: Callable[[str], str], revision: str, via_root: bool
) -> None:
    name = f"{'root' if via_root else 'partitions'}_{revision}"
    publisher, subscriber = database(f"from_{name}"), database(f"to_{name}")
    old = old_release.make(publisher)
    upgrade(publisher, revision)
    upgrade(subscriber)
    with (
        psycopg.connect(publisher, autocommit=True) as there,
        psycopg.connect(subscriber, autocommit=True) as here,
    ):
        tables = "order_events" + (", scanned_horizon, log_epochs" if revision == "head" else "")
        there.execute(
            f"CREATE PUBLICATION log FOR TABLE {tables} WITH (publish_via_partition_root = {via_root})"
        )
        there.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name.lower(),))
        here.execute(
            f"CREATE SUBSCRIPTION log CONNECTION '{psycopg.conninfo.make_conninfo(publisher)}' "
            f"PUBLICATION log WITH (create_slot = false, slot_name = '{name.lower()}')"
        )
        assert arrived(publisher, subscriber)
        later = Given("OrderPaid", 60 * old_release.DAY_MS, "4.00")
        order, events = next(iter(old.good.items()))
        append_good(there, order, later)
        assert arrived(publisher, subscriber)
        good = old.good | {order: [*events, later]}
        if revision == "head":
            there.execute("SELECT publish_horizon()")
            assert readable(here)
            run_everything(subscriber, good, old.bad, waiting=waiting(subscriber))
        else:  # a release that tells its replicas nothing: readable once it is a primary
            with pytest.raises(psycopg.Error, match="publication lacks scanned_horizon, log_epochs"):
                here.execute("SELECT horizon_ms()")
        here.execute("ALTER SUBSCRIPTION log DISABLE")
        here.execute("ALTER SUBSCRIPTION log SET (slot_name = NONE)")
        here.execute("DROP SUBSCRIPTION log")
        if revision != "head" and via_root:
            run_everything(subscriber, good, old.bad, waiting=waiting(subscriber))
