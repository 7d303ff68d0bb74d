"""Each step of an append, in the interleaving that it exists for."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.connection import open_connection
from tests.log.pausing import pause, run_clock, set_clock, stopped

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
NOON = 1_900_000_000_000
HOUR = 3_600_000


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


def append(
    connection: Connection,
    order: UUID,
    *events: dict[str, Any],
    expected: int | None = None,
    by: str = "append_events",
) -> list[UUID]:
    rows = connection.execute(
        f"SELECT id FROM {by}(%s, %s, %s)", (order, Jsonb(list(events or (PAID,))), expected)
    )
    return [row[0] for row in rows]


def publish(connection: Connection) -> int:
    row = connection.execute("SELECT publish_horizon()").fetchone()
    assert row is not None
    return int(row[0])


def feed(connection: Connection, after: UUID | None = None) -> list[UUID]:
    publish(connection)
    return [row[0] for row in connection.execute("SELECT id FROM read_events(%s, 1000)", (after,))]


def ms_of(event_id: UUID) -> int:
    return event_id.int >> 80


def business_times(connection: Connection) -> list[int]:
    return [at for (at,) in connection.execute("SELECT created_at FROM order_events ORDER BY id")]


# The floor and the lock


def test_what_is_published_after_the_look_at_it_and_before_the_lock_lies_below_the_ids(
    connection: Connection, database_url: str
) -> None:
    """The step that keeps events from being lost: the reader that publishes here sees no lock."""
    set_clock(connection, NOON)
    publish(connection)
    set_clock(connection, NOON + 10)
    pause(connection, "hold_horizon", before="IF pg_sequence_last_value('feed_horizon') >")
    with stopped(database_url, lambda session: append(session, uuid4())) as appending:
        set_clock(connection, NOON + 20)
        (seen,) = append(connection, uuid4())
        assert feed(connection) == [seen]
        shown = publish(connection)
    (minted,) = appending.result()
    assert ms_of(minted) > shown
    assert feed(connection, after=seen) == [minted]


def test_what_is_published_while_the_lock_is_held_lies_below_the_ids(
    connection: Connection, database_url: str
) -> None:
    pause(connection, "hold_horizon", before="RETURN greatest")
    with stopped(database_url, lambda session: append(session, uuid4())) as appending:
        run_clock(connection, "floor(date_part('epoch', clock_timestamp()) * 1000) + 1000")
        shown = publish(connection)
        assert feed(connection) == []
    (minted,) = appending.result()
    assert ms_of(minted) > shown
    assert feed(connection) == [minted]


def test_an_append_mints_above_what_was_published_in_the_same_millisecond(connection: Connection) -> None:
    set_clock(connection, NOON)
    assert publish(connection) == NOON
    (minted,) = append(connection, uuid4())
    assert ms_of(minted) == NOON + 1


def test_after_a_clock_went_back_an_open_append_holds_back_only_what_is_recorded_after_it(
    connection: Connection, other: Connection
) -> None:
    set_clock(connection, NOON)
    publish(connection)
    set_clock(connection, NOON - HOUR)
    (before,) = append(connection, uuid4())
    assert feed(connection) == [before]
    with other.transaction():
        (slow,) = append(other, uuid4())
        assert feed(connection) == [before]
        (behind,) = append(connection, uuid4())
        assert feed(connection) == [before]
    assert feed(connection) == sorted([before, slow, behind])


def test_the_next_transaction_announces_a_floor_of_its_own(connection: Connection, other: Connection) -> None:
    (first,) = append(other, uuid4())
    publish(connection)
    (second,) = append(connection, uuid4())
    publish(connection)
    with other.transaction():
        (third,) = append(other, uuid4())
        assert feed(connection) == [first, second]
    assert feed(connection) == [first, second, third]


def test_the_floor_of_a_rolled_back_savepoint_is_not_kept(connection: Connection, other: Connection) -> None:
    set_clock(connection, NOON)
    with other.transaction():
        with other.transaction(force_rollback=True):
            append(other, uuid4())
        set_clock(connection, NOON + 10)
        (kept,) = append(other, uuid4())
        assert connection.execute("SELECT floor_ms FROM horizon_holders()").fetchall() == [(NOON + 10,)]
    assert feed(connection) == [kept]


def test_a_later_append_of_a_transaction_says_when_it_was_recorded(connection: Connection) -> None:
    set_clock(connection, NOON)
    with connection.transaction():
        (first,) = append(connection, uuid4())
        set_clock(connection, NOON + 5)
        (second,) = append(connection, uuid4())
    assert (ms_of(first), ms_of(second)) == (NOON, NOON + 5)


def test_an_insert_of_the_owner_after_an_append_is_refused_as_before(connection: Connection) -> None:
    (appended,) = append(connection, uuid4())
    above = UUID(int=appended.int + (1 << 80))
    with pytest.raises(psycopg.Error, match="are appended by append_events"):
        connection.execute(
            "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
            "VALUES (%s, %s, 1, 'OrderPaid', '{}', 0)",
            (above, uuid4()),
        )


def test_who_chose_another_limit_for_idle_transactions_keeps_it(connection: Connection) -> None:
    connection.execute("SET idle_in_transaction_session_timeout = '5min'")
    with connection.transaction():
        append(connection, uuid4())
        assert connection.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("5min",)


# Versions and times


@pytest.mark.parametrize("by", ["append_events", "record_events"])
def test_who_comes_in_between_the_look_at_the_last_time_and_the_insert_is_not_stamped_over(
    connection: Connection, database_url: str, by: str
) -> None:
    order, future = uuid4(), 4_000_000_000_000
    pause(connection, by, before="RETURN QUERY INSERT INTO order_events")
    with stopped(database_url, lambda session: append(session, order, by=by)) as stamping:
        append(connection, order, {**PAID, "created_at": future})
    stamping.result()
    assert business_times(connection) == [future, future]


@pytest.mark.parametrize("by", ["append_events", "record_events"])
def test_who_comes_in_between_the_look_at_the_version_and_the_insert_is_told(
    connection: Connection, database_url: str, by: str
) -> None:
    order = uuid4()
    pause(connection, by, before="RETURN QUERY INSERT INTO order_events")
    with stopped(database_url, lambda session: append(session, order, expected=0, by=by)) as appending:
        append(connection, order, expected=0)
    with pytest.raises(psycopg.Error, match="is at version 1, expected 0"):
        appending.result()


def test_an_expected_version_is_that_before_the_first_event_of_the_call(connection: Connection) -> None:
    order = uuid4()
    assert len(append(connection, order, PAID, PAID, PAID, expected=0)) == 3
    assert len(append(connection, order, PAID, PAID, expected=3)) == 2


def test_a_stamped_event_happened_not_after_it_was_recorded_however_long_the_call_takes(
    connection: Connection,
) -> None:
    connection.execute("CREATE SEQUENCE ticks")
    run_clock(connection, f"{NOON} + nextval('ticks') * 10")
    append(connection, uuid4(), *[PAID] * 5)
    late = connection.execute("SELECT count(*) FROM order_events WHERE created_at > uuidv7_ms(id)")
    assert late.fetchone() == (0,)


def test_a_stamped_event_happened_when_the_clock_says_though_its_id_lies_ahead(
    connection: Connection,
) -> None:
    set_clock(connection, NOON)
    publish(connection)
    set_clock(connection, NOON - HOUR)
    (minted,) = append(connection, uuid4())
    assert ms_of(minted) == NOON + 1
    assert business_times(connection) == [NOON - HOUR]


def test_the_same_id_of_another_source_is_another_event(connection: Connection) -> None:
    order = uuid4()
    append(connection, order, {**PAID, "source": "/shop", "source_id": "1"})
    other_source = {**PAID, "source": "/till", "source_id": "1"}
    with pytest.raises(psycopg.Error, match="is at version 1, expected 0"):
        append(connection, order, other_source, expected=0)
    append(connection, order, other_source)
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (2,)


# Ids


def one(connection: Connection, expression: str) -> Any:
    row = connection.execute(f"SELECT {expression}").fetchone()
    assert row is not None
    return row[0]


def test_after_the_last_id_of_a_millisecond_comes_the_first_of_the_next(connection: Connection) -> None:
    last = one(connection, f"uuidv7_at({NOON}, (1 << 26) - 1)")
    following = one(connection, f"uuidv7_after('{last}', {NOON})")
    assert following > last
    assert one(connection, f"uuidv7_counter('{last}')") == (1 << 26) - 1
    assert one(connection, f"uuidv7_counter('{following}')") == 0
    assert ms_of(following) == NOON + 1


@pytest.mark.parametrize("counter", [0, 1, 8_192, 16_383, 16_384, 20_000, (1 << 26) - 1])
def test_an_id_holds_its_counter_and_lies_between_the_lowest_and_the_highest_of_its_millisecond(
    connection: Connection, counter: int
) -> None:
    minted = one(connection, f"uuidv7_at({NOON}, {counter})")
    assert one(connection, f"uuidv7_counter('{minted}')") == counter
    assert one(connection, f"uuidv7_lowest({NOON})") <= minted <= one(connection, f"uuidv7_ceiling({NOON})")


def test_every_id_of_a_millisecond_lies_between_its_lowest_and_its_highest(connection: Connection) -> None:
    prefix = f"{NOON:012x}"
    all_zero = UUID(f"{prefix}70008000000000000000")
    all_one = UUID(f"{prefix}7fffbfffffffffffffff")
    assert one(connection, f"uuidv7_lowest({NOON})") <= all_zero
    assert (
        all_one <= one(connection, f"uuidv7_ceiling({NOON})") < one(connection, f"uuidv7_lowest({NOON + 1})")
    )


# Whose rights


def test_every_function_with_its_owners_rights_resolves_names_as_the_owner_wants(
    connection: Connection,
) -> None:
    trusting = connection.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef "
        "AND NOT coalesce(proconfig, '{}') @> '{\"search_path=public, pg_temp\"}'"
    )
    assert trusting.fetchall() == []
