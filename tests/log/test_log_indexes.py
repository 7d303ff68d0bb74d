"""The indexes of revision 0015 on a log with events: built beside appends, killed anywhere, gone on with."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.connection import open_connection
from eventstore.log.schema import log_indexes, migrate
from tests.buckets import BUCKETS, PARTS_OF_THE_LOG, part
from tests.killing import running, until
from tests.log.schema_objects import objects
from tests.shipped import upgrade

Connection = psycopg.Connection[Any]
BEFORE = "0014"
UPGRADE = "import sys; from tests.shipped import upgrade; upgrade(sys.argv[1])"


def append(connection: Connection, order: UUID, source_id: str) -> None:
    event = {"type": "OrderShipped", "data": {}, "created_at": 0, "source": "/s", "source_id": source_id}
    connection.execute("SELECT append_events(%s, %s)", (order, Jsonb([event])))


@pytest.fixture
def old(new_database: Callable[..., str]) -> tuple[str, list[UUID]]:
    """A log with the old indexes, as the revision leaves one with events: in all buckets, one stream long."""
    url = new_database()
    orders = [uuid4() for _ in range(100)]
    with open_connection(url) as connection:
        connection.execute(
            f"DROP INDEX {', '.join(f'{p}_identity, {p}_long_streams' for p in PARTS_OF_THE_LOG)};"
            "CREATE INDEX order_events_business_time ON order_events (order_id, created_at, version);"
            "CREATE UNIQUE INDEX order_events_source ON order_events (order_id, source, source_id) "
            "WHERE source_id IS NOT NULL"
        )
        for order in orders:
            append(connection, order, "1")
        for number in range(2, 50):
            append(connection, orders[0], str(number))
    return url, orders


def sources(connection: Connection, order: UUID) -> list[str]:
    rows = connection.execute(
        "SELECT source_id FROM order_events WHERE order_id = %s ORDER BY version", (order,)
    )
    return [source_id for (source_id,) in rows]


def is_whole(url: str, fresh: Connection, orders: list[UUID]) -> None:
    """The indexes are those of a fresh install, and what was recorded before is known by its identity."""
    with open_connection(url) as connection:
        assert objects(connection) == objects(fresh)
        for order in orders:
            append(connection, order, "1")
            assert sources(connection, order).count("1") == 1


def invalid(connection: Connection) -> list[str]:
    rows = connection.execute(
        "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid AND indrelid::regclass::text "
        "LIKE 'order_events%'"
    )
    return [name for (name,) in rows]


def waits_for(observer: Connection, event: str) -> bool:
    row = observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'eventstore init' AND wait_event_type = 'Lock' AND wait_event = %s",
        (event,),
    ).fetchone()
    return row is not None and row[0] > 0


def nobody_builds(observer: Connection) -> bool:
    row = observer.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = 'eventstore init'"
    ).fetchone()
    return row == (0,)


@pytest.mark.skipif(BUCKETS != 16, reason="old logs have 16")
def test_a_log_with_events_gets_the_indexes_of_a_fresh_install(
    new_database: Callable[..., str], connection: Connection
) -> None:
    url = new_database(migrated=False)
    upgrade(url, BEFORE)
    order = uuid4()
    with open_connection(url) as session:
        append(session, order, "1")
    said: list[str] = []
    upgrade(url, say=said.append)
    assert len(said) == 17
    is_whole(url, connection, [order])
    upgrade(url, say=said.append)
    assert len(said) == 17


def test_appends_and_reads_go_on_meanwhile(old: tuple[str, list[UUID]], connection: Connection) -> None:
    url, orders = old
    done = Event()

    def write() -> list[str]:
        written: list[str] = []
        with open_connection(url) as session:
            session.execute("SET lock_timeout = '5s'")
            while not done.is_set() or len(written) < 20:
                name = f"meanwhile {len(written)}"
                append(session, orders[len(written) % 20], name)
                append(session, orders[len(written) % 20], name)
                written.append(name)
        return written

    with ThreadPoolExecutor(2) as threads:
        writers = [threads.submit(write) for _ in range(2)]
        try:
            upgrade(url)
        finally:
            done.set()
        written = [writer.result(60) for writer in writers]
    is_whole(url, connection, orders)
    with open_connection(url) as session:
        found = [name for order in orders[:20] for name in sources(session, order) if "meanwhile" in name]
    assert sorted(found) == sorted(set(written[0]) | set(written[1]))


def test_ended_after_each_index_it_goes_on_with_the_next_one(
    old: tuple[str, list[UUID]], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, orders = old
    create, built = log_indexes._create, []

    def create_one(session: Connection, bucket: str, name: str) -> None:
        create(session, bucket, name)
        built.append(f"{bucket}_{name}")
        raise KeyboardInterrupt

    monkeypatch.setattr(log_indexes, "_create", create_one)
    with open_connection(url) as writer:
        for number in range(2 * BUCKETS):
            with pytest.raises(KeyboardInterrupt):
                log_indexes.build(url, lambda _: None)
            order = orders[number]
            append(writer, order, "1")
            append(writer, order, "2")
            append(writer, order, "2")
            assert [sources(writer, order).count(name) for name in ("1", "2")] == [1, 1]
    assert len(set(built)) == len(built)
    log_indexes.build(url, lambda _: None)
    is_whole(url, connection, orders)


def test_where_two_recorded_identities_have_the_same_hash_the_old_indexes_stay(
    old: tuple[str, list[UUID]],
) -> None:
    url, orders = old
    with open_connection(url) as session:
        append(session, orders[0], "another")
        session.execute(
            "CREATE OR REPLACE FUNCTION event_identity(order_id uuid, source text, source_id text) "
            "RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN uuid_send(order_id)"
        )
        said: list[str] = []
        for _ in range(2):
            log_indexes.build(url, said.append)
            assert "have the same hash: the old indexes stay" in said[-1]
            assert log_indexes.lacking(session) == []
            assert invalid(session) == []
        for source_id in ("another", "1", "a third", "a third"):
            append(session, orders[0], source_id)
        assert sources(session, orders[0]).count("another") == 1
        assert sources(session, orders[0]).count("a third") == 1


def test_what_was_recorded_twice_after_an_index_was_dropped_is_said_and_the_others_are_built(
    connection: Connection, database_url: str
) -> None:
    order = uuid4()
    (bucket,) = connection.execute("SELECT order_bucket(%s)", (order,)).fetchone() or (0,)
    dropped = sorted({f"{part('order_events', number)}_identity" for number in (bucket, 0, BUCKETS - 1)})
    connection.execute(f"DROP INDEX {', '.join(dropped)}".encode())
    assert log_indexes.lacking(connection) == dropped
    append(connection, order, "1")
    append(connection, order, "1")
    assert sources(connection, order) == ["1", "1"]
    said: list[str] = []
    log_indexes.build(database_url, said.append)
    assert said[-1].startswith(f"Events in {part('order_events', bucket)} were recorded twice")
    assert log_indexes.lacking(connection) == [f"{part('order_events', bucket)}_identity"]


def test_killed_in_the_middle_nothing_is_lost_and_the_next_run_goes_on(
    old: tuple[str, list[UUID]], connection: Connection
) -> None:
    url, orders = old
    bucket = 3
    with open_connection(url) as keeper, open_connection(url) as observer, running(UPGRADE, url) as process:
        with keeper.transaction():
            keeper.execute(f"LOCK TABLE {part('order_events', bucket)} IN SHARE UPDATE EXCLUSIVE MODE")
            until(lambda: waits_for(observer, "relation"))
            process.kill()
            process.wait()
            for order in orders:
                append(observer, order, "1")
                assert sources(observer, order).count("1") == 1
            built = observer.execute(
                "SELECT count(*) FROM pg_class WHERE relname LIKE 'order\\_events\\_%\\_identity'"
            ).fetchone()
            assert built == (bucket,)
        until(lambda: nobody_builds(observer))
    upgrade(url)
    is_whole(url, connection, orders)


def test_an_index_that_was_left_half_built_is_built_again(
    old: tuple[str, list[UUID]], connection: Connection
) -> None:
    """Its session is ended while it waits for a transaction that is older than what it has built."""
    url, orders = old
    with open_connection(url) as reader, open_connection(url) as observer, ThreadPoolExecutor(1) as threads:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM projections")
        building = threads.submit(upgrade, url)
        until(lambda: building.done() or (waits_for(observer, "virtualxid") and bool(invalid(observer))))
        observer.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'eventstore init'"
        )
        assert building.exception(30) is not None
        assert invalid(observer) == ["order_events_00_identity"]
        reader.execute("ROLLBACK")
    upgrade(url)
    is_whole(url, connection, orders)


def test_who_holds_the_log_for_long_keeps_the_old_indexes_there_and_nobody_waiting(
    old: tuple[str, list[UUID]], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, orders = old
    tries: list[BaseException | None] = []
    monkeypatch.setattr(
        log_indexes._drop_replaced.retry,
        "before_sleep",
        lambda state: tries.append(state.outcome and state.outcome.exception()),
    )
    with open_connection(url) as reader, ThreadPoolExecutor(1) as threads:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM order_events")
        building = threads.submit(upgrade, url)
        until(lambda: building.done() or len(tries) >= 2)
        with open_connection(url) as session:
            for order in orders:
                append(session, order, "while it is tried")
        reader.execute("COMMIT")
        building.result(60)
    assert all(isinstance(error, psycopg.errors.LockNotAvailable) for error in tries)
    is_whole(url, connection, orders)


def test_a_second_session_leaves_it_to_the_first(old: tuple[str, list[UUID]], connection: Connection) -> None:
    url, orders = old
    said: list[str] = []
    with open_connection(url) as first:
        first.execute("SELECT pg_advisory_lock(0, %s::int)", (log_indexes._LOCK,))
        migrate.upgrade(url, say=said.append)
        kinds = first.execute("SELECT kind FROM lock_holders() WHERE pid = pg_backend_pid()").fetchall()
    assert said == ["The indexes of the log are being built by another session."]
    assert ("migration",) in kinds
    upgrade(url)
    is_whole(url, connection, orders)
