"""The log in another server by logical replication: read there, written there after a failure."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.log import feed
from eventstore.log.append import append_json
from eventstore.log.epochs import current_epoch, epochs
from eventstore.log.errors import EpochError
from eventstore.log.freshness import freshness
from eventstore.log.position import Position
from eventstore.log.schema import migrate
from eventstore.server import embedded
from tests.log import journals
from tests.log.standbys import Server, eventually, primary_server
from tests.log.under_load import log_of, run

Connection = psycopg.Connection[Any]
SHIPPED = {"type": "OrderShipped", "data": {}}


@contextmanager
def subscriber_of(
    primary: Server, tables: str = "order_events, scanned_horizon, log_epochs"
) -> Iterator[Server]:
    with primary.connect() as there:
        there.execute(f"CREATE PUBLICATION log FOR TABLE {tables} WITH (publish_via_partition_root)")
    server = Server(Path(mkdtemp(prefix="subscriber-", dir=primary.home.parent)))
    try:
        migrate.upgrade(server.url)
        with server.connect() as here:
            here.execute("ALTER SYSTEM SET wal_retrieve_retry_interval = '100ms'")
            here.execute("SELECT pg_reload_conf()")
            source = psycopg.conninfo.make_conninfo(primary.url)
            here.execute(f"CREATE SUBSCRIPTION log CONNECTION '{source}' PUBLICATION log")
        yield server
    finally:
        embedded.stop(server.home)


def has_copied(subscriber: Connection) -> bool:
    row = subscriber.execute("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel").fetchone()
    return row == (True,)


def end_subscription(subscriber: Connection) -> None:
    subscriber.execute("ALTER SUBSCRIPTION log DISABLE")
    subscriber.execute("ALTER SUBSCRIPTION log SET (slot_name = NONE)")
    subscriber.execute("DROP SUBSCRIPTION log")


def test_each_acknowledged_event_is_read_once_on_a_subscriber_whichever_server_is_killed(
    tmp_path: Path,
) -> None:
    with primary_server() as primary, subscriber_of(primary) as subscriber:
        seen, plain = run(primary, subscriber, tmp_path, kills=4)
        log = log_of(primary)
    assert journals.acknowledged(tmp_path) <= set(log)
    assert Counter(seen) == Counter(log)
    assert set(log) - set(plain), "the plain reader lost nothing: this test could not fail"


def test_a_subscriber_is_read_when_all_of_its_tables_are_copied_and_not_before() -> None:
    with primary_server() as primary:
        with primary.connect() as there:
            append_json(there, uuid4(), [SHIPPED])
            feed.publish_horizon(there)
        with subscriber_of(primary) as subscriber, subscriber.connect() as here:
            eventually(lambda: has_copied(here))
            assert len(feed.read(here)) == 1
            assert freshness(here).is_replica
            for state in "id":
                here.execute(
                    "UPDATE pg_subscription_rel SET srsubstate = %s WHERE srrelid = 'order_events'::regclass",
                    (state,),
                )
                with pytest.raises(psycopg.Error, match="it still copies order_events"):
                    feed.read(here)


def test_a_publication_that_lacks_a_table_is_named() -> None:
    with (
        primary_server() as primary,
        subscriber_of(primary, "order_events") as subscriber,
        subscriber.connect() as here,
        pytest.raises(psycopg.Error, match="publication lacks scanned_horizon, log_epochs"),
    ):
        here.execute("SELECT publish_horizon()")


def test_appends_on_a_subscriber_are_refused_until_it_takes_over_which_begins_an_epoch() -> None:
    with primary_server() as primary, subscriber_of(primary) as subscriber:
        order = uuid4()
        with primary.connect() as there, subscriber.connect() as here:
            (common,) = append_json(there, order, [SHIPPED])
            feed.publish_horizon(there)
            eventually(lambda: has_copied(here))
            with pytest.raises(psycopg.Error, match="where they are published"):
                append_json(here, order, [SHIPPED])
            here.execute("ALTER SUBSCRIPTION log DISABLE")
            (lost,) = append_json(there, order, [SHIPPED])
            assert [event.id for event in feed.read(there)] == [common.id, lost.id]
            end_subscription(here)
            (new,) = append_json(here, order, [SHIPPED])
            assert current_epoch(here) == 2
            assert new.id > lost.id
            with pytest.raises(EpochError, match=f"above {common.id} up to {lost.id}"):
                feed.read_page(here, Position(1, lost.id))
            assert [event.id for event in feed.read_page(here, Position(1, common.id)).events] == [new.id]
            assert [(epoch.kind, epoch.declared_by) for epoch in epochs(here)] == [("restore", None)]
