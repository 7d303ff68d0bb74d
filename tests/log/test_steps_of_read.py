"""Each step of a read, in the interleaving that it exists for."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.connection import open_connection
from tests.log.pausing import is_blocked, pause, set_clock, stopped, until

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
NOON = 1_900_000_000_000


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


def append(connection: Connection) -> UUID:
    row = connection.execute("SELECT id FROM append_events(%s, %s)", (uuid4(), Jsonb([PAID]))).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def publish(connection: Connection) -> int:
    row = connection.execute("SELECT publish_horizon()").fetchone()
    assert row is not None
    return int(row[0])


def horizon(connection: Connection) -> int:
    row = connection.execute("SELECT horizon_ms()").fetchone()
    assert row is not None
    return int(row[0])


def read(connection: Connection, after: UUID | None = None) -> list[UUID]:
    return [row[0] for row in connection.execute("SELECT id FROM read_events(%s, 1000)", (after,))]


# Publishing


def test_of_two_publishers_at_once_the_slower_one_does_not_set_the_horizon_lower(
    connection: Connection, other: Connection, database_url: str
) -> None:
    set_clock(connection, NOON)
    pause(connection, "publish_horizon", before="PERFORM setval")
    with ThreadPoolExecutor(1) as threads:
        with stopped(database_url, publish) as slower:  # it has seen noon, and has set nothing yet
            set_clock(connection, NOON + 1000)
            faster = threads.submit(publish, other)
            until(lambda: faster.done() or is_blocked(connection, other.info.backend_pid))
        slower.result()
        assert faster.result(30) == NOON + 1000
    assert connection.execute("SELECT pg_sequence_last_value('feed_horizon')").fetchone() == (NOON + 1000,)


def test_what_was_published_is_flushed_whatever_the_session_asked_for(connection: Connection) -> None:
    connection.execute("SET synchronous_commit = off")
    with connection.transaction():
        publish(connection)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("local",)
    connection.execute("SET synchronous_commit = remote_write")
    with connection.transaction():
        publish(connection)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("remote_write",)


@pytest.mark.parametrize(
    "function", ["publish_horizon", "save_watermark", "reset_watermark", "delete_consumer"]
)
def test_the_functions_of_readers_wait_ten_seconds_at_most(connection: Connection, function: str) -> None:
    row = connection.execute(
        "SELECT proconfig @> '{lock_timeout=10s}' FROM pg_proc WHERE oid = %s::regproc", (function,)
    ).fetchone()
    assert row == (True,)


# The horizon


def test_an_append_that_begins_between_the_look_at_what_is_published_and_at_the_locks_is_not_passed_over(
    connection: Connection, other: Connection, database_url: str
) -> None:
    set_clock(connection, NOON)
    publish(connection)
    pause(connection, "horizon_ms", before="RETURN least(published")
    with other.transaction():
        with stopped(database_url, horizon) as reading:
            set_clock(connection, NOON + 10)
            opened = append(other)
            assert publish(connection) == NOON + 10
        assert reading.result() < opened.int >> 80
    publish(connection)
    assert read(connection) == [opened]


def test_the_horizon_is_never_above_what_was_published(connection: Connection, other: Connection) -> None:
    """Or an append after a clock went back would mint below it."""
    set_clock(connection, NOON)
    publish(connection)
    set_clock(connection, NOON + 1000)
    with other.transaction():
        append(other)
        assert horizon(connection) == NOON


def test_the_horizon_lies_below_the_millisecond_of_an_open_append(
    connection: Connection, other: Connection
) -> None:
    set_clock(connection, NOON)
    with other.transaction():
        slow = append(other)
        fast = append(connection)
        publish(connection)
        assert slow.int >> 80 == fast.int >> 80
        assert horizon(connection) == NOON - 1
        assert read(connection) == []
    assert read(connection) == sorted([slow, fast])


def test_the_horizon_lies_below_the_oldest_of_the_open_appends(
    connection: Connection, other: Connection, database_url: str
) -> None:
    with open_connection(database_url) as third, other.transaction():
        set_clock(connection, NOON)
        append(other)
        set_clock(connection, NOON + 10)
        with third.transaction():
            append(third)
            set_clock(connection, NOON + 20)
            publish(connection)
            assert horizon(connection) == NOON - 1


_OURS = "(17747::bigint << 48) | 5"


@pytest.mark.parametrize(
    ("lock", "elsewhere"),
    [
        (f"pg_advisory_lock({_OURS})", False),
        (f"pg_advisory_lock_shared({_OURS})", True),
        ("pg_advisory_lock_shared((17747 << 16), 5)", False),
        ("pg_advisory_lock_shared((17747 << 16) + 1, 0)", False),
        ("pg_advisory_lock_shared(5)", False),
        ("pg_advisory_lock_shared((17746::bigint << 48) | 5)", False),
        ("pg_advisory_lock_shared((17748::bigint << 48) | 5)", False),
    ],
)
def test_no_lock_but_an_announcement_in_this_database_holds_anybody_back(
    connection: Connection, new_database: Callable[..., str], database_url: str, lock: str, elsewhere: bool
) -> None:
    seen = append(connection)
    with open_connection(new_database() if elsewhere else database_url) as stranger:
        stranger.execute(f"SELECT {lock}")
        publish(connection)
        assert read(connection) == [seen]
        connection.execute("SELECT save_watermark('billing', %s)", (seen,))


# The rows


def test_an_append_that_commits_while_the_horizon_is_taken_is_read_with_those_above_it(
    connection: Connection, other: Connection, database_url: str
) -> None:
    """In the snapshot of the rows it is there when its lock is gone."""
    pause(connection, "horizon_ms", before="published := coalesce(")
    other.execute("BEGIN")
    slow = append(other)
    fast = append(connection)
    publish(connection)
    with stopped(database_url, read) as reading:
        other.execute("COMMIT")
    assert reading.result() == sorted([slow, fast])


def test_a_reader_that_published_may_read_in_its_next_transaction(connection: Connection) -> None:
    seen = append(connection)
    with connection.transaction():
        publish(connection)
    with connection.transaction():
        assert read(connection) == [seen]


# Pages


def test_the_page_after_an_event_does_not_begin_with_it(connection: Connection) -> None:
    ids = sorted(append(connection) for _ in range(3))
    publish(connection)
    assert read(connection, ids[0]) == ids[1:]
    assert read(connection, ids[-1]) == []


# Watermarks of consumers


def save(connection: Connection, consumer: str, ms: int) -> None:
    connection.execute("SELECT save_watermark(%s, uuidv7_ceiling(%s))", (consumer, ms))


def test_a_watermark_ends_below_the_floor_of_an_open_append(
    connection: Connection, other: Connection
) -> None:
    set_clock(connection, NOON)
    with other.transaction():
        append(other)
        set_clock(connection, NOON + 1000)
        publish(connection)
        save(connection, "billing", NOON - 1)
        with pytest.raises(psycopg.Error, match="above the horizon"):
            save(connection, "billing", NOON)


def test_a_consumer_without_an_owner_belongs_to_the_first_of_two_that_save_at_once(
    connection: Connection, other: Connection, database_url: str
) -> None:
    connection.execute("INSERT INTO consumers (name, watermark) VALUES ('billing', uuidv7_lowest(0))")
    logins = ["eventstore_test_first", "eventstore_test_second"]
    for login in logins:
        connection.execute(f"DROP ROLE IF EXISTS {login}")
        connection.execute(f"CREATE ROLE {login} LOGIN IN ROLE eventstore_reader")
    try:
        publish(connection)
        first, second = (psycopg.connect(database_url, autocommit=True) for _ in logins)
        for session, login in zip((first, second), logins, strict=True):
            session.execute(f"SET SESSION AUTHORIZATION {login}")
        with first, second, ThreadPoolExecutor(1) as threads:
            with first.transaction():
                save(first, "billing", 1)
                late = threads.submit(save, second, "billing", 2)
                until(lambda: late.done() or is_blocked(connection, second.info.backend_pid))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match=logins[0]):
                late.result(30)
        assert connection.execute("SELECT owner FROM consumers").fetchone() == (logins[0],)
    finally:
        for login in logins:
            connection.execute(f"DROP ROLE {login}")


def test_nobody_else_may_call_the_functions_that_change_consumers(connection: Connection) -> None:
    rows = connection.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "AND proname ~ 'consumer|watermark' AND has_function_privilege('public', oid, 'EXECUTE')"
    )
    assert rows.fetchall() == []
