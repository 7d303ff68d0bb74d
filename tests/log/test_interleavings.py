"""Appends and reads at once, one step at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.errors import ConcurrencyError
from tests.buckets import KEYS

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


def append(
    connection: Connection, order: UUID, *events: dict[str, Any], expected: int | None = None
) -> list[tuple[UUID, int]]:
    return connection.execute(
        "SELECT id, version FROM append_events(%s, %s, %s)", (order, Jsonb(list(events or (PAID,))), expected)
    ).fetchall()


def feed(connection: Connection, after: UUID | None = None) -> list[tuple[UUID, int]]:
    connection.execute("SELECT publish_horizon()")
    return connection.execute("SELECT order_id, version FROM read_events(%s, 1000)", (after,)).fetchall()


@retry(retry=retry_if_result(lambda waits: not waits), wait=wait_fixed(0.01), stop=stop_after_delay(30))
def until_blocked(observer: Connection, blocked: Connection) -> bool:
    row = observer.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (blocked.info.backend_pid,)
    ).fetchone()
    return row == (True,)


def test_does_not_skip_events_of_a_slow_transaction_that_began_before_a_faster_one(
    connection: Connection, other: Connection
) -> None:
    slow, fast = uuid4(), uuid4()
    with other.transaction():
        append(other, slow)
        append(connection, fast)
        assert feed(connection) == []
    assert sorted(feed(connection)) == sorted([(slow, 1), (fast, 1)])


def test_an_append_that_began_after_the_read_does_not_hold_back_what_was_committed(
    connection: Connection, other: Connection
) -> None:
    early, late = uuid4(), uuid4()
    append(connection, early)
    assert feed(connection) == [(early, 1)]
    with other.transaction():
        append(other, late)
        assert feed(connection) == [(early, 1)]
    assert feed(connection) == [(early, 1), (late, 1)]


def test_open_transactions_that_append_nothing_hold_nothing_back(
    connection: Connection, other: Connection
) -> None:
    order = uuid4()
    with other.transaction():
        other.execute("CREATE TEMPORARY TABLE busy (n int)")
        append(connection, order)
        assert feed(connection) == [(order, 1)]


def test_a_rolled_back_append_is_never_seen_and_holds_nothing_back(
    connection: Connection, other: Connection
) -> None:
    lost, kept = uuid4(), uuid4()
    with other.transaction(force_rollback=True):
        append(other, lost)
    append(connection, kept)
    assert feed(connection) == [(kept, 1)]


def test_a_savepoint_rolled_back_leaves_the_rest_of_the_transaction_protected(
    connection: Connection, other: Connection
) -> None:
    lost, kept, fast = uuid4(), uuid4(), uuid4()
    with other.transaction():
        with other.transaction(force_rollback=True):
            append(other, lost)
        append(other, kept)
        append(connection, fast)
        assert feed(connection) == []
    assert sorted(feed(connection)) == sorted([(kept, 1), (fast, 1)])


def test_a_clock_that_goes_back_an_hour_loses_nothing(connection: Connection) -> None:
    before, after = uuid4(), uuid4()
    append(connection, before)
    assert feed(connection) == [(before, 1)]
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
        "RETURN floor(date_part('epoch', clock_timestamp()) * 1000)::bigint - 3600000"
    )
    append(connection, after)
    append(connection, before)
    assert feed(connection)[0] == (before, 1)
    assert sorted(feed(connection)[1:]) == sorted([(after, 1), (before, 2)])


def test_an_append_waits_for_another_of_the_same_order_and_gets_the_next_version(
    connection: Connection, other: Connection, database_url: str
) -> None:
    order = uuid4()
    with open_connection(database_url) as observer, ThreadPoolExecutor(1) as threads:
        with other.transaction():
            [(first, _)] = append(other, order)
            waiting = threads.submit(append, connection, order, PAID, PAID)
            until_blocked(observer, connection)
        second = waiting.result(30)
    assert [version for _, version in second] == [2, 3]
    assert first < second[0][0] < second[1][0]


def test_an_append_takes_the_version_of_one_that_rolled_back(
    connection: Connection, other: Connection, database_url: str
) -> None:
    order = uuid4()
    with open_connection(database_url) as observer, ThreadPoolExecutor(1) as threads:
        with other.transaction(force_rollback=True):
            append(other, order)
            waiting = threads.submit(append, connection, order)
            until_blocked(observer, connection)
        assert [version for _, version in waiting.result(30)] == [1]


def test_an_expected_version_is_compared_after_the_wait(
    connection: Connection, other: Connection, database_url: str
) -> None:
    order = uuid4()
    append(connection, order)
    with open_connection(database_url) as observer, ThreadPoolExecutor(1) as threads:
        with other.transaction():
            append(other, order, expected=1)
            waiting = threads.submit(append, connection, order, expected=1)
            until_blocked(observer, connection)
        with pytest.raises(psycopg.DatabaseError, match="is at version 2, expected 1"):
            waiting.result(30)


def test_the_same_identity_from_two_sessions_at_once_is_recorded_once(
    connection: Connection, other: Connection, database_url: str
) -> None:
    order, fact = uuid4(), {**PAID, "source": "/shop", "source_id": "1"}
    with open_connection(database_url) as observer, ThreadPoolExecutor(1) as threads:
        with other.transaction():
            first = append(other, order, fact)
            waiting = threads.submit(append, connection, order, fact)
            until_blocked(observer, connection)
        assert waiting.result(30) == first
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (1,)


def test_a_retry_returns_what_was_recorded_first_whatever_version_it_expects(connection: Connection) -> None:
    order, fact = uuid4(), {**PAID, "source": "/shop", "source_id": "1"}
    first = append(connection, order, fact, expected=0)
    append(connection, order)
    assert append(connection, order, fact, expected=0) == first
    again = append(connection, order, fact, PAID, fact)
    assert [again[0], again[2]] == first * 2
    assert again[1][1] == 3


def test_all_events_of_a_call_or_none(connection: Connection) -> None:
    order = uuid4()
    with pytest.raises(psycopg.DatabaseError):
        append(connection, order, PAID, {"type": "OrderPaid", "data": {"amount": "1.234", "currency": "EUR"}})
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (0,)


@pytest.mark.parametrize(
    "amount",
    ["12.345", "100000000.00", "1e2", "NaN", " 1", "", "-", "1.", 12.5, 12, True, None, [], "\u0661"],
)
def test_an_amount_that_does_not_fit_is_refused_by_the_database(connection: Connection, amount: Any) -> None:
    with pytest.raises(psycopg.DatabaseError, match="amount"):
        append(connection, uuid4(), {"type": "OrderPaid", "data": {"amount": amount}})


@pytest.mark.parametrize("amount", ["0", "12.5", "99999999.99", "-3.10", "1.5000"])
def test_an_amount_that_fits_is_kept_as_it_is(connection: Connection, amount: str) -> None:
    append(connection, uuid4(), {"type": "OrderPaid", "data": {"amount": amount}})
    assert connection.execute("SELECT event_data ->> 'amount' FROM order_events").fetchone() == (amount,)


def test_an_event_that_does_not_say_when_is_never_earlier_than_the_last_of_its_order(
    connection: Connection,
) -> None:
    order, future = uuid4(), 4_000_000_000_000
    append(connection, order, {**PAID, "created_at": future}, PAID)
    append(connection, order)
    times = connection.execute("SELECT created_at FROM order_events ORDER BY version").fetchall()
    assert [at for (at,) in times] == [future] * 3


def test_an_event_that_does_not_say_when_is_not_earlier_than_one_that_it_waited_for(
    connection: Connection, other: Connection, database_url: str
) -> None:
    order, future = uuid4(), 4_000_000_000_000
    with open_connection(database_url) as observer, ThreadPoolExecutor(1) as threads:
        with other.transaction():
            append(other, order, {**PAID, "created_at": future})
            waiting = threads.submit(append, connection, order)
            until_blocked(observer, connection)
        waiting.result(30)
    times = connection.execute("SELECT created_at FROM order_events ORDER BY version").fetchall()
    assert [at for (at,) in times] == [future] * 2


def test_a_refused_append_leaves_an_open_transaction_as_it_was(connection: Connection) -> None:
    order = uuid4()
    with connection.transaction():
        append_json(connection, order, [PAID])
        with pytest.raises(ConcurrencyError):
            append_json(connection, order, [PAID], expected_version=0)
        append_json(connection, order, [PAID], expected_version=1)
    assert feed(connection) == [(order, 1), (order, 2)]


def test_an_append_on_its_own_is_one_round_trip(connection: Connection, tmp_path: Path) -> None:
    append_json(connection, uuid4(), [PAID])
    with (tmp_path / "trace").open("w+") as trace:
        connection.pgconn.trace(trace.fileno())
        append_json(connection, uuid4(), [PAID])
        connection.pgconn.untrace()
        messages = (tmp_path / "trace").read_text()
    assert messages.count("ReadyForQuery") == 1, messages


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_other_isolation_levels_are_refused_with_a_reason(connection: Connection, level: str) -> None:
    append(connection, uuid4())
    for call in ("append_events(gen_random_uuid(), '[]')", "read_events(NULL, 1)"):
        with pytest.raises(psycopg.DatabaseError, match="READ COMMITTED"), connection.transaction():
            connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
            connection.execute(f"SELECT {call}")


def test_publishing_and_reading_in_one_transaction_is_an_error_not_a_wrong_answer(
    connection: Connection,
) -> None:
    append(connection, uuid4())
    with pytest.raises(psycopg.DatabaseError, match="not committed yet"), connection.transaction():
        connection.execute("SELECT publish_horizon()")
        connection.execute("SELECT * FROM read_events(NULL, 10)")


def test_an_append_left_open_is_named_and_ended(connection: Connection, database_url: str) -> None:
    with psycopg.connect(database_url, application_name="forgetful") as writer:
        append(writer, uuid4())
        assert writer.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("1min",)
        holders = connection.execute("SELECT pid, application_name FROM horizon_holders()").fetchall()
        assert holders == [(writer.info.backend_pid, "forgetful")]
    assert connection.execute("SELECT * FROM horizon_holders()").fetchall() == []


def test_five_thousand_events_in_one_call_and_in_one_transaction(connection: Connection) -> None:
    many, order = [PAID] * 2500, uuid4()
    with connection.transaction():
        first = append(connection, order, *many)
        second = append(connection, order, *many)
        locks = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        ).fetchone()
    appended = first + second
    assert [version for _, version in appended] == list(range(1, 5001))
    assert [event_id for event_id, _ in appended] == sorted(event_id for event_id, _ in appended)
    assert locks == (1,)


def test_the_bucket_of_an_order_is_its_partition(connection: Connection) -> None:
    for _ in range(200):
        append(connection, uuid4())
    wrong = connection.execute(
        "SELECT count(*) FROM order_events "
        "WHERE tableoid <> ('order_events_' || lpad(order_bucket(order_id)::text, %s, '0'))::regclass",
        (len(KEYS[0]),),
    ).fetchone()
    assert wrong == (0,)


def test_ids_are_uuidv7_of_the_moment_of_recording(connection: Connection) -> None:
    before = connection.execute("SELECT clock_ms()").fetchone()
    [(event_id, _)] = append(connection, uuid4())
    after = connection.execute("SELECT clock_ms()").fetchone()
    assert before is not None
    assert after is not None
    assert (event_id.version, event_id.variant) == (7, "specified in RFC 4122")
    assert before[0] <= event_id.int >> 80 <= after[0] + 1
