"""Waits for locks are bounded, and who holds them is named with the statement that ends it."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest

import eventstore
from eventstore import BusyError, OrderShipped, Store
from eventstore.log import connection as settings
from eventstore.log.waiting import holders
from tests.shipped import refresh

Raw = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings._SETTINGS, "lock_timeout", "'300ms'")


@pytest.fixture
def other(database_url: str) -> Any:
    """Another session, in an open transaction."""
    with psycopg.connect(database_url, application_name="forgotten\x1b[31m") as connection:
        yield connection


def test_waiting_for_ten_seconds_is_what_a_session_does(connection: Raw) -> None:
    assert settings.LOCK_TIMEOUT_S == 10


@pytest.mark.parametrize(
    "lock",
    [
        "LOCK TABLE order_events IN SHARE MODE",  # in the way of an append
        "LOCK TABLE horizon_publishing",  # of publishing
        "SELECT * FROM projections FOR UPDATE",  # of a refresh
    ],
)
def test_who_holds_a_lock_is_named_with_the_statement_that_ends_it(
    store: Store, other: Raw, lock: str
) -> None:
    order = uuid4()
    with store.connection() as connection:
        store.append(order, OrderShipped())
        refresh(connection)
        if "order_events" not in lock:
            store.append(order, OrderShipped())
    other.execute(lock)
    with pytest.raises(BusyError) as caught, store.connection() as connection:
        store.append(order, OrderShipped()) if "order_events" in lock else refresh(connection)
    message = str(caught.value)
    assert f"pid {other.info.backend_pid} (" in message
    assert str(other.info.user) in message
    assert "forgotten" in message
    assert " since 20" in message
    assert f"SELECT pg_terminate_backend({other.info.backend_pid})" in message
    assert message.isprintable()
    other.rollback()
    with store.connection() as connection:
        refresh(connection)


def test_an_append_that_waits_for_another_of_the_same_order_says_who_it_is(store: Store, other: Raw) -> None:
    order = uuid4()
    other.execute("SELECT append_events(%s, %s)", (order, '[{"type": "OrderShipped", "data": {}}]'))
    with pytest.raises(BusyError, match=str(other.info.backend_pid)):
        store.append(order, OrderShipped())
    assert store.stream(order) == []


def test_a_prepared_transaction_is_named_by_its_gid(store: Store, other: Raw) -> None:
    if other.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("this PostgreSQL has max_prepared_transactions = 0")
    gid = f"or'phan {uuid4()}"
    quoted = gid.replace("'", "''")
    other.execute("SELECT append_events(%s, %s)", (uuid4(), '[{"type": "OrderShipped", "data": {}}]'))
    other.execute("LOCK TABLE order_events IN SHARE MODE")
    other.execute(f"PREPARE TRANSACTION '{quoted}'")
    other.autocommit = True
    try:
        with pytest.raises(BusyError) as caught:
            store.append(uuid4(), OrderShipped())
        assert f"the prepared transaction '{quoted}' of {other.info.user} since 20" in str(caught.value)
        assert f"ROLLBACK PREPARED '{quoted}'" in str(caught.value)
    finally:
        other.execute(f"ROLLBACK PREPARED '{quoted}'")


def test_a_lock_that_is_free_again_is_said_to_be(store: Store, database_url: str) -> None:
    assert holders(database_url) == []
    with pytest.raises(BusyError, match="which is free again"), store.connection():
        raise psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")


def test_sessions_that_only_read_are_not_accused(database_url: str, other: Raw) -> None:
    other.execute("SELECT count(*) FROM order_events")
    with psycopg.connect(database_url) as writer:
        writer.execute("LOCK TABLE order_events IN SHARE MODE")
        assert [holder.pid for holder in holders(database_url)] == [writer.info.backend_pid]
    assert [holder.pid for holder in holders(database_url)] == [other.info.backend_pid]


def test_what_the_log_says_of_its_own_locks_is_believed(store: Store, connection: Raw) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION lock_holders() RETURNS TABLE (kind text, name text, floor_ms bigint, "
        "pid int, role name, application_name text, client_addr inet, state text, since timestamptz, "
        "query text, gid text, granted boolean, waiting_for int[]) LANGUAGE sql AS $$ SELECT 'consumer', "
        "'billing', NULL::bigint, 4711, 'clerk'::name, 'psql', NULL::inet, 'idle', now() - interval '1 h', "
        "'SELECT 1', NULL, true, '{}'::int[] $$"
    )
    with (
        pytest.raises(BusyError, match=r"pid 4711 \(role clerk, psql, idle.*holds consumer billing"),
        store.connection(),
    ):
        raise psycopg.errors.LockNotAvailable("canceling statement due to lock timeout")


def test_migrations_wait_no_longer_than_others(database_url: str, other: Raw) -> None:
    from eventstore.log.schema import migrate  # noqa: PLC0415

    other.execute("SELECT pg_advisory_xact_lock(0, %s::int)", (migrate._MIGRATION_LOCK,))
    with pytest.raises(eventstore.EventStoreError, match=r"pg_terminate_backend"):
        migrate.upgrade(database_url)
