"""The owner by accident: INSERT and COPY into the log, ids of the future, commits that a crash takes back."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.connection import open_connection
from tests.buckets import part

Connection = psycopg.Connection[Any]
ROW = "(id, order_id, version, event_type, event_data, created_at)"
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
YEAR_5000 = UUID("5706e17a-9600-7000-8000-000000000000")


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


def append(connection: Connection, order: UUID, *events: dict[str, Any]) -> list[UUID]:
    rows = connection.execute("SELECT id FROM append_events(%s, %s)", (order, Jsonb(list(events or (PAID,)))))
    return [row[0] for row in rows]


def feed(connection: Connection, after: UUID | None = None) -> list[UUID]:
    connection.execute("SELECT publish_horizon()")
    return [row[0] for row in connection.execute("SELECT id FROM read_events(%s, 1000)", (after,))]


def insert(connection: Connection, event_id: UUID | str, order: UUID, version: int = 1) -> None:
    connection.execute(
        f"INSERT INTO order_events {ROW} VALUES (%s, %s, %s, 'OrderPaid', '{{}}', 0)",
        (event_id, order, version),
    )


def restored(connection: Connection, event_id: UUID | str, order: UUID, version: int = 1) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL eventstore.restoring = 'on'")
        insert(connection, event_id, order, version)


def clock_ms(connection: Connection) -> int:
    row = connection.execute("SELECT clock_ms()").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("event_id", [uuid4(), YEAR_5000, UUID(int=1)])
@pytest.mark.parametrize("table", ["order_events", "partition"])
def test_an_insert_of_the_owner_is_refused_and_says_why(
    connection: Connection, event_id: UUID, table: str
) -> None:
    order = uuid4()
    if table == "partition":
        row = connection.execute("SELECT order_bucket(%s)", (order,)).fetchone()
        assert row is not None
        table = part("order_events", row[0])
    with pytest.raises(psycopg.Error, match="are appended by append_events"):
        connection.execute(
            f"INSERT INTO {table} {ROW} VALUES (%s, %s, 1, 'OrderPaid', '{{}}', 0)", (event_id, order)
        )
    with (
        pytest.raises(psycopg.Error, match="are appended by append_events"),
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} {ROW} FROM STDIN") as copy,
    ):
        copy.write_row((event_id, order, 1, "OrderPaid", "{}", 0))
    assert feed(connection) == []


@pytest.mark.parametrize(
    "event_id", ["4f1f2a1c-1f6b-4c0e-9d5e-111111111111", "00000000-0001-7000-8000-000000000000"]
)
def test_an_id_that_was_not_announced_is_refused_behind_an_append_too(
    connection: Connection, event_id: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="no uuidv7 above"), connection.transaction():
        append(connection, uuid4())
        insert(connection, event_id, uuid4())


def test_a_restore_of_data_says_so_for_one_transaction(connection: Connection) -> None:
    order = uuid4()
    restored(connection, "01890000-0000-7000-8000-000000000000", order)
    with pytest.raises(psycopg.Error, match="are appended by append_events"):
        insert(connection, "01890000-0000-7000-8000-000000000001", order, 2)
    assert feed(connection) == [UUID("01890000-0000-7000-8000-000000000000")]


def test_an_append_ends_the_permission_of_its_transaction(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="no uuidv7 above"), connection.transaction():
        connection.execute("SET LOCAL eventstore.restoring = 'on'")
        append(connection, uuid4())
        insert(connection, UUID(int=1), uuid4())


def test_a_writer_gets_no_permission_by_saying_so(connection: Connection) -> None:
    connection.execute("SET ROLE eventstore_writer; SET eventstore.restoring = 'on'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        insert(connection, YEAR_5000, uuid4())
    with pytest.raises(psycopg.errors.CheckViolation):
        append(connection, uuid4(), {"type": "X", "data": {"x": "y" * 2_000_000}})


def test_an_id_from_the_future_moves_no_horizon_and_stops_none(connection: Connection) -> None:
    absurd, sane = uuid4(), uuid4()
    restored(connection, YEAR_5000, absurd)
    (first,) = append(connection, sane)
    assert feed(connection) == [first]
    before = clock_ms(connection)
    shown = connection.execute("SELECT publish_horizon()").fetchone()
    assert shown is not None
    assert before <= shown[0] <= clock_ms(connection)
    (behind,) = append(connection, absurd)  # ids rise within an order: it waits with the first
    (second,) = append(connection, sane)
    assert behind > YEAR_5000
    assert feed(connection) == [first, second]


def test_after_a_clock_went_back_new_events_are_shown_at_once(connection: Connection) -> None:
    shown = feed(connection)
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
        "RETURN floor(date_part('epoch', clock_timestamp()) * 1000)::bigint - 7200000"
    )
    for _ in range(3):
        shown += append(connection, uuid4())
        assert feed(connection) == shown


def test_an_id_a_little_ahead_of_the_clock_is_published(connection: Connection) -> None:
    ahead = UUID(int=(clock_ms(connection) + 30_000) << 80 | 7 << 76 | 1 << 63)
    restored(connection, ahead, uuid4())
    assert feed(connection) == [ahead]
    assert append(connection, uuid4())[0] > ahead


def test_a_load_with_a_line_of_an_absurd_order_leaves_the_other_lines_in_the_present(
    connection: Connection,
) -> None:
    absurd, sane = uuid4(), uuid4()
    restored(connection, YEAR_5000, absurd)
    with connection.transaction():
        connection.execute("SELECT open_staging()")
        for line, order in enumerate((sane, absurd, sane)):
            connection.execute(
                "INSERT INTO pg_temp.staged_events VALUES (%s, %s, 'X', '{}', NULL, '/s', %s, '{}')",
                (line, order, str(line)),
            )
        connection.execute("SELECT * FROM append_staged()")
    rows = connection.execute("SELECT id FROM order_events WHERE order_id = %s ORDER BY version", (sane,))
    assert feed(connection) == [row[0] for row in rows]
    ids = connection.execute("SELECT id FROM order_events WHERE order_id = %s ORDER BY version", (absurd,))
    assert [row[0] > YEAR_5000 for row in ids.fetchall()[1:]] == [True]


def test_at_the_end_of_time_an_append_is_refused_instead_of_lost(connection: Connection) -> None:
    connection.execute("SELECT setval('feed_horizon', (1::bigint << 48) - 1)")
    with pytest.raises(psycopg.Error, match="end of time"):
        append(connection, uuid4())


@pytest.mark.parametrize("asked", ["off", "local", "on", "remote_write"])
def test_a_commit_of_events_is_flushed_whatever_the_session_asked_for(
    connection: Connection, asked: str
) -> None:
    connection.execute(f"SET synchronous_commit = {asked}")
    with connection.transaction():
        append(connection, uuid4())
        assert connection.execute("SHOW synchronous_commit").fetchone() == (
            "local" if asked == "off" else asked,
        )
    assert connection.execute("SHOW synchronous_commit").fetchone() == (asked,)


def test_a_load_is_flushed_too(connection: Connection) -> None:
    connection.execute("SET synchronous_commit = off")
    with connection.transaction():
        connection.execute("SELECT open_staging(); SELECT append_staged()")
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("local",)


def test_a_publisher_that_does_not_commit_keeps_nobody_waiting(
    connection: Connection, other: Connection
) -> None:
    with other.transaction():
        other.execute("SELECT publish_horizon()")
        (seen,) = append(connection, uuid4())
        assert feed(connection) == [seen]
    assert feed(other) == [seen]


def test_a_stranger_cannot_hold_up_publishing(connection: Connection, other: Connection) -> None:
    other.execute("SELECT pg_advisory_lock(17748, 0)")
    (seen,) = append(connection, uuid4())
    assert feed(connection) == [seen]
    other.execute("SET ROLE eventstore_projector")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), other.transaction():
        other.execute("LOCK TABLE horizon_publishing IN ACCESS SHARE MODE")


def test_a_wait_to_publish_is_bounded_and_names_who_holds_it(
    connection: Connection, database_url: str
) -> None:
    connection.execute(
        "ALTER FUNCTION publish_horizon() SET lock_timeout = '50ms'"
    )  # for this test, 10 s else
    with psycopg.connect(database_url, application_name="sits here") as holder:
        holder.execute("LOCK TABLE horizon_publishing IN EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable, match="sits here") as error:
            connection.execute("SELECT publish_horizon()")
        assert f"pg_terminate_backend({holder.info.backend_pid})" in str(error.value)
    connection.execute("SELECT publish_horizon()")


def test_who_holds_the_horizon_of_another_database_is_not_named(
    connection: Connection, new_database: Callable[..., str], database_url: str
) -> None:
    """Copies of one template: the table has the same number in both."""
    connection.execute("ALTER FUNCTION publish_horizon() SET lock_timeout = '50ms'")
    copy = new_database()
    with psycopg.connect(copy) as elsewhere, psycopg.connect(database_url) as harmless:
        elsewhere.execute("LOCK TABLE horizon_publishing IN EXCLUSIVE MODE")
        harmless.execute("LOCK TABLE horizon_publishing IN ACCESS SHARE MODE")
        with psycopg.connect(database_url) as holder:
            holder.execute("LOCK TABLE horizon_publishing IN EXCLUSIVE MODE")
            with pytest.raises(psycopg.errors.LockNotAvailable) as error:
                connection.execute("SELECT publish_horizon()")
            assert f"pg_terminate_backend({holder.info.backend_pid})" in str(error.value)


def test_publishers_at_once_never_set_the_horizon_lower(connection: Connection, database_url: str) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
        "RETURN 1700000000000 + (random() * 1000000)::bigint"
    )

    def publish(_: int) -> list[int]:
        with open_connection(database_url) as publisher:
            return [
                int((publisher.execute("SELECT publish_horizon()").fetchone() or (0,))[0]) for _ in range(50)
            ]

    with ThreadPoolExecutor(4) as threads:
        for shown in threads.map(publish, range(4)):
            assert shown == sorted(shown)


def test_a_stranger_with_a_key_alone_keeps_no_append_waiting(
    connection: Connection, other: Connection
) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN 1700000000000"
    )
    other.execute(
        "SELECT pg_advisory_lock((17747::bigint << 48) | (1700000000000 + n)) FROM generate_series(-10, 10) n"
    )
    with connection.transaction():
        (minted,) = append(connection, uuid4())
        assert feed(other) == []
    assert minted.int >> 80 >= 1_700_000_000_000
    other.execute("SELECT pg_advisory_unlock_all()")
    assert feed(other) == [minted]


@pytest.mark.parametrize("floor", [0, 1])
def test_a_forged_announcement_of_the_lowest_floor_shows_nobody_an_open_append(
    connection: Connection, other: Connection, floor: int
) -> None:
    (seen,) = append(connection, uuid4())
    assert feed(connection) == [seen]
    connection.execute("SELECT pg_advisory_lock_shared((17747::bigint << 48) | %s)", (floor,))
    with other.transaction():
        (slow,) = append(other, uuid4())
        (fast,) = append(connection, uuid4())
        assert feed(connection) == []
    connection.execute("SELECT pg_advisory_unlock_all()")
    assert feed(connection) == sorted([seen, slow, fast])


def test_an_event_that_is_stamped_happened_before_it_was_recorded(connection: Connection) -> None:
    order = uuid4()
    append(connection, order, *[PAID] * 50)
    with connection.transaction():
        for _ in range(3):
            append(connection, order, PAID)
            connection.execute("SELECT pg_sleep(0.005)")
    with connection.transaction():
        connection.execute("SELECT open_staging()")
        connection.execute(
            "INSERT INTO pg_temp.staged_events VALUES (1, %s, 'X', '{}', NULL, '/s', '1', '{}')", (uuid4(),)
        )
        connection.execute("SELECT * FROM append_staged()")
    assert connection.execute(
        "SELECT count(*) FROM order_events WHERE created_at > uuidv7_ms(id)"
    ).fetchone() == (0,)


def test_limits_and_guards_are_not_asked_of_what_replication_brings(connection: Connection) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        insert(connection, YEAR_5000, uuid4())
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (1,)
