"""Who holds the locks of the log, and the end of those that hold them too long."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.connection import open_connection
from eventstore.log.holders import (
    Holder,
    blocking_holders,
    end_holders,
    in_words,
    lock_holders,
    overdue_holders,
)
from eventstore.log.schema import migrate
from eventstore.orders.domain import ORDERS
from eventstore.server import embedded
from tests.buckets import BUCKETS, part
from tests.log.sessions import drop_logins, is_alive, make_login, until_blocked
from tests.shipped import refresh, replay_bucket, upgrade

Connection = psycopg.Connection[Any]
PAID = Jsonb([{"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}])
APPEND = "SELECT append_events(%s, %s)"


@pytest.fixture
def session(database_url: str) -> Iterator[Callable[..., Connection]]:
    """Opens sessions of others: ``session("psql")``."""
    with ExitStack() as stack:

        def open_session(name: str, **options: Any) -> Connection:
            opened: Connection = psycopg.connect(database_url, application_name=name, **options)
            stack.callback(opened.close)
            return opened

        yield open_session


@pytest.fixture
def impatient(connection: Connection) -> None:
    """Everybody who holds anything holds it too long."""
    connection.execute("ALTER TABLE settings DROP CONSTRAINT max_hold_is_between_10_seconds_and_1_day")
    connection.execute("UPDATE settings SET max_hold = '0'")


def held(connection: Connection, kind: str) -> list[Holder]:
    return [holder for holder in lock_holders(connection) if holder.kind == kind]


def test_nobody_holds_anything_in_a_quiet_store(connection: Connection) -> None:
    refresh(connection)
    assert lock_holders(connection) == []


def test_an_open_append_is_named_with_its_session_its_floor_and_since_when(
    connection: Connection, session: Callable[..., Connection]
) -> None:
    forgotten = session("psql")
    forgotten.execute(APPEND, (uuid4(), PAID))
    began = forgotten.execute("SELECT now()").fetchone()
    [holder] = held(connection, "append")
    assert (holder.pid, holder.application_name, holder.state, holder.gid) == (
        forgotten.info.backend_pid,
        "psql",
        "idle in transaction",
        None,
    )
    assert (holder.since,) == began
    assert holder.granted
    [[floor, pid, since]] = connection.execute(
        "SELECT floor_ms, pid, open_since FROM horizon_holders()"
    ).fetchall()
    assert (floor, pid, since) == (holder.floor_ms, holder.pid, holder.since)


def test_a_lock_of_the_session_counts_from_the_beginning_of_the_session(
    connection: Connection, session: Callable[..., Connection]
) -> None:
    sly = session("sly", autocommit=True)
    sly.execute("SELECT pg_advisory_lock_shared(17747::bigint << 48 | 1)")
    began = connection.execute(
        "SELECT backend_start FROM pg_stat_activity WHERE pid = %s", (sly.info.backend_pid,)
    ).fetchone()
    with sly.transaction():  # hiding behind a short transaction
        sly.execute("SELECT 1")
        [holder] = held(connection, "append")
        assert (holder.since,) == began


def test_consumers_replays_migrations_and_order_queues_are_named(
    connection: Connection, session: Callable[..., Connection]
) -> None:
    connection.execute("SELECT save_watermark('billing', '00000000-0000-0000-0000-000000000000')")
    for name, lock in {
        "follower": "SELECT pg_advisory_lock(17748, hashtext('billing'))",
        "replayer": f"SELECT pg_advisory_lock(17747, hashtext('{part('orders_candidate', 3)}'))",
        "migrator": f"SELECT pg_advisory_lock(0, {migrate._MIGRATION_LOCK})",
        "queue": f"SELECT pg_advisory_lock(17749, uuid_hash('{uuid4()}'))",
        "millisecond": "SELECT pg_advisory_lock(17747::bigint << 48 | 4102444800000)",
    }.items():
        session(name).execute(lock)
    found = {holder.application_name: (holder.kind, holder.name) for holder in lock_holders(connection)}
    assert found == {
        "follower": ("consumer", "billing"),
        "replayer": ("replay", part("orders_candidate", 3)),
        "migrator": ("migration", None),
        "queue": ("writers", None),
        "millisecond": ("writers", None),
    }


def test_the_row_of_a_projection_names_who_locked_it_and_who_waits(
    connection: Connection, session: Callable[..., Connection]
) -> None:
    refresh(connection)
    connection.execute("INSERT INTO projections (name, fold_version) VALUES ('another', '1')")
    holder, waiter, third, other = (session(name) for name in ("holder", "waiter", "third", "other"))
    lock = "SELECT FROM projections WHERE name = %s FOR UPDATE"
    holder.execute(lock, (ORDERS.name,))
    other.execute(lock, ("another",))
    with ThreadPoolExecutor(2) as pool:
        pids = [waiter.info.backend_pid, third.info.backend_pid]
        waiting = []
        for blocked, pid in zip((waiter, third), pids, strict=True):
            waiting.append(pool.submit(blocked.execute, lock, (ORDERS.name,)))
            until_blocked(connection, pid)
        found = {found.application_name: found for found in held(connection, "projection")}
        assert {name: (one.name, one.granted) for name, one in found.items()} == {
            "holder": ("orders", True),
            "waiter": ("orders", False),
            "third": ("orders", False),
            "other": ("another", True),
        }
        assert found["waiter"].waiting_for == [holder.info.backend_pid]
        assert held(connection, "projection")[0].since is not None
        connection.execute("ALTER TABLE settings DROP CONSTRAINT max_hold_is_between_10_seconds_and_1_day")
        connection.execute("UPDATE settings SET max_hold = '0'")
        assert [one.application_name for one in blocking_holders(connection)] == ["holder"]
        assert overdue_holders(connection) == []
        holder.rollback()
        waiting[0].result()
        waiter.rollback()
        waiting[1].result()


def test_a_real_replay_shows_its_bucket(connection: Connection, database_url: str) -> None:
    seen: list[tuple[str, str | None]] = []
    connection.execute(APPEND, (uuid4(), PAID))
    with open_connection(database_url) as worker:
        for bucket in range(BUCKETS):
            replay_bucket(
                worker,
                bucket,
                on_progress=lambda _: seen.extend(
                    (holder.kind, holder.name) for holder in lock_holders(connection)
                ),
            )
    assert {kind for kind, _ in seen} == {"replay"}
    assert str(seen[0][1]).startswith("orders_candidate_")


def test_who_holds_publishing_is_named_with_those_who_wait_and_is_ended(
    connection: Connection, session: Callable[..., Connection], impatient: None
) -> None:
    holder, reader = session("holder"), session("reader", autocommit=True)
    holder.execute("LOCK TABLE horizon_publishing IN ROW SHARE MODE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reader.execute, "SELECT publish_horizon()")
        until_blocked(connection, reader.info.backend_pid)
        found = {one.application_name: one for one in held(connection, "publishing")}
        assert {name: (one.granted, one.waiting_for) for name, one in found.items()} == {
            "holder": (True, []),
            "reader": (False, [holder.info.backend_pid]),
        }
        named = connection.execute("SELECT name_holders('publishing')").fetchone()
        assert f"pid {holder.info.backend_pid} (role " in str(named)
        assert [(one.kind, one.pid, one.ended) for one in end_holders(connection)] == [
            ("publishing", holder.info.backend_pid, True)
        ]
        waiting.result()


def test_a_table_that_is_locked_is_named_with_those_who_wait(
    connection: Connection, session: Callable[..., Connection]
) -> None:
    holder, writer = session("maintenance"), session("writer", autocommit=True)
    holder.execute("LOCK TABLE order_events IN SHARE MODE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(writer.execute, APPEND, (uuid4(), PAID))
        until_blocked(connection, writer.info.backend_pid)
        found = held(connection, "table")
        assert ("maintenance", "order_events", True) in [
            (one.application_name, (one.name or "").split(",")[0], one.granted) for one in found
        ]
        assert [one.waiting_for for one in found if one.application_name == "writer"] == [
            [holder.info.backend_pid]
        ]
        holder.rollback()
        waiting.result()


def test_only_holders_of_the_horizon_and_of_publishing_are_ended_and_only_the_old_ones(
    connection: Connection, session: Callable[..., Connection], impatient: None
) -> None:
    refresh(connection)
    forgotten, follower, refresher = session("forgotten"), session("follower"), session("refresher")
    forgotten.execute(APPEND, (uuid4(), PAID))
    follower.execute("SELECT pg_advisory_lock(17748, hashtext('billing'))")
    refresher.execute("SELECT FROM projections FOR UPDATE")
    connection.execute("UPDATE settings SET max_hold = '1 hour'")
    assert end_holders(connection) == []
    connection.execute("UPDATE settings SET max_hold = '0'")
    [ended] = end_holders(connection)
    assert (ended.pid, ended.kind, ended.ended) == (forgotten.info.backend_pid, "append", True)
    assert not is_alive(connection, forgotten)
    assert is_alive(connection, follower)
    assert is_alive(connection, refresher)
    assert end_holders(connection) == []


def test_of_two_open_appends_the_younger_one_lives(
    connection: Connection, session: Callable[..., Connection], impatient: None
) -> None:
    old, young = session("old"), session("young")
    old.execute(APPEND, (uuid4(), PAID))
    connection.execute("SELECT pg_sleep(0.5)")
    young.execute(APPEND, (uuid4(), PAID))
    connection.execute(
        "UPDATE settings SET max_hold = clock_timestamp() - since - interval '100 ms' "
        "FROM (SELECT since FROM lock_holders() WHERE application_name = 'old') AS one"
    )
    assert [holder.application_name for holder in end_holders(connection)] == ["old"]
    assert is_alive(connection, young)
    young.commit()


def test_a_session_never_ends_itself(connection: Connection, impatient: None) -> None:
    with connection.transaction():
        connection.execute(APPEND, (uuid4(), PAID))
        assert end_holders(connection) == []


def test_a_holder_that_may_not_be_ended_is_reported_with_the_statement_that_does(
    connection: Connection, session: Callable[..., Connection], impatient: None
) -> None:
    connection.execute(APPEND, (uuid4(), PAID))
    try:
        clerk = make_login(connection, "clerk", "pg_read_all_stats", "eventstore_reader")
        connection.execute(f'GRANT SELECT ON settings TO "{clerk}"')
        connection.execute(f'ALTER FUNCTION end_holders() OWNER TO "{clerk}"')
        boss = session("boss")
        boss.execute(APPEND, (uuid4(), PAID))
        [refused] = end_holders(connection)
        assert not refused.ended
        assert refused.remedy == f"SELECT pg_terminate_backend({boss.info.backend_pid})"
        assert refused.remedy in in_words(refused)
        assert is_alive(connection, boss)
        connection.execute("ALTER FUNCTION end_holders() OWNER TO CURRENT_USER")
    finally:
        drop_logins(connection)


def test_readers_see_holders_and_end_nobody(connection: Connection) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE eventstore_reader")
        assert lock_holders(connection) == []
        assert overdue_holders(connection) == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            end_holders(connection)


@pytest.fixture(scope="module")
def home_with_prepared_transactions() -> Iterator[Path]:
    """A server of its own: the setting needs a restart."""
    home = Path(mkdtemp(prefix="prepared-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    with psycopg.connect(embedded.start(home), autocommit=True) as server:
        server.execute("ALTER SYSTEM SET max_prepared_transactions = 10")
        server.execute("ALTER SYSTEM SET fsync = off")
    embedded.stop(home)
    yield home
    embedded.stop(home)


@pytest.fixture
def prepared_url(home_with_prepared_transactions: Path) -> Iterator[str]:
    url = embedded.start(home_with_prepared_transactions)
    upgrade(url)
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        for (gid,) in connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            connection.execute(psycopg.sql.SQL("ROLLBACK PREPARED {}").format(gid))


def prepare(url: str, gid: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        connection.execute(psycopg.sql.SQL("PREPARE TRANSACTION {}").format(gid))


def test_prepared_transactions_are_named_by_their_gid_and_never_ended(prepared_url: str) -> None:
    append = f'SELECT append_events(\'{uuid4()}\', \'[{{"type": "OrderShipped", "data": {{}}}}]\')'
    prepare(prepared_url, "it's an append", append)
    with open_connection(prepared_url) as connection:
        refresh(connection)
        prepare(prepared_url, "a refresh", "SELECT FROM projections WHERE name = 'orders' FOR UPDATE")
        found = {holder.gid: holder for holder in lock_holders(connection)}
        assert {gid: (one.kind, one.name) for gid, one in found.items()} == {
            "it's an append": ("append", None),
            "a refresh": ("projection", "orders"),
        }
        orphan = found["it's an append"]
        assert (orphan.pid, orphan.role, orphan.state) == (None, "postgres", "prepared")
        assert connection.execute(
            "SELECT since = prepared FROM lock_holders() JOIN pg_prepared_xacts USING (gid)"
        )
        assert connection.execute(
            "SELECT role, application_name, open_since IS NOT NULL FROM horizon_holders()"
        ).fetchall() == [("postgres", "prepared transaction it's an append", True)]

        with psycopg.connect(prepared_url) as waiter, ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(waiter.execute, "SELECT FROM projections WHERE name = 'orders' FOR UPDATE")
            until_blocked(connection, waiter.info.backend_pid)
            [blocked] = [one for one in held(connection, "projection") if one.gid is None]
            assert (blocked.name, blocked.granted, blocked.waiting_for) == ("orders", False, [0])
            connection.execute("ROLLBACK PREPARED 'a refresh'")
            waiting.result()

        connection.execute("ALTER TABLE settings DROP CONSTRAINT max_hold_is_between_10_seconds_and_1_day")
        connection.execute("UPDATE settings SET max_hold = '0'")
        [reported] = end_holders(connection)
        assert (reported.ended, reported.remedy) == (
            False,
            "ROLLBACK PREPARED 'it''s an append' (or COMMIT PREPARED 'it''s an append')",
        )
        assert 'prepared transaction "it\'s an append" (role postgres)' in in_words(reported)
        assert connection.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == [("it's an append",)]


def test_a_prepared_transaction_is_named_after_the_server_was_restarted_too(
    prepared_url: str, home_with_prepared_transactions: Path
) -> None:
    prepare(prepared_url, "orphan", "SELECT hold_horizon()")
    embedded.stop(home_with_prepared_transactions)
    with open_connection(embedded.start(home_with_prepared_transactions)) as connection:
        assert [(one.kind, one.gid, one.role) for one in lock_holders(connection)] == [
            ("append", "orphan", "postgres")
        ]


def test_a_stranger_on_the_lock_of_a_consumer_a_replay_or_a_migration_is_ended_and_its_own_people_are_not(
    connection: Connection, session: Callable[..., Connection], impatient: None
) -> None:
    try:
        ann = make_login(connection, "ann", "eventstore_reader", "eventstore_projector")
        stranger = make_login(connection, "stranger")
        session("registers", user=ann, password="hush", autocommit=True).execute(
            "SELECT save_watermark('billing', '00000000-0000-0000-0000-000000000000')"
        )
        locks = {
            "consumer": "SELECT pg_advisory_lock_shared(17748, hashtext('billing'))",
            "replay": f"SELECT pg_advisory_lock_shared(17747, hashtext('{part('orders_candidate', 3)}'))",
            "migration": f"SELECT pg_advisory_lock_shared(0, {migrate._MIGRATION_LOCK})",
        }
        for kind, lock in locks.items():
            session(f"stranger's {kind}", user=stranger, password="hush", autocommit=True).execute(lock)
            own = (
                session(f"own {kind}", autocommit=True)
                if kind == "migration"
                else session(f"own {kind}", user=ann, password="hush", autocommit=True)
            )
            own.execute(lock)
        ended = end_holders(connection)
        assert {(one.kind, one.application_name, one.ended) for one in ended} == {
            (kind, f"stranger's {kind}", True) for kind in locks
        }
        assert all(in_words(one) for one in ended)
        assert {one.application_name for one in lock_holders(connection)} == {f"own {kind}" for kind in locks}
    finally:
        drop_logins(connection)
