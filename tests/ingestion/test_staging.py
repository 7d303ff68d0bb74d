"""Set-based append: many writers at once, the rights it needs, what it refuses."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.ingestion import load
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from tests.shipped import files_waiting, ingest, read
from tests.shipped import retry as retry_rejects

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]

PAID = {"type": "OrderPaid", "data": {"amount": "2.50", "currency": "EUR"}}


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.02), stop=stop_after_delay(30))
def until(condition: Callable[[], bool]) -> bool:
    return condition()


def waiting_for_a_lock(connection: Connection, application: str) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name = %s AND wait_event_type = 'Lock'",
        (application,),
    ).fetchone()
    return row is not None and row[0] > 0


def streams(connection: Connection) -> dict[UUID, list[str]]:
    """The source ids of each order by version; fails where versions have gaps or ids do not rise."""
    found: dict[UUID, list[str]] = {}
    last_id: dict[UUID, UUID] = {}
    for order, version, event_id, source_id in connection.execute(
        "SELECT order_id, version, id, source_id FROM order_events ORDER BY order_id, version"
    ):
        found.setdefault(order, []).append(source_id)
        assert version == len(found[order])
        assert event_id > last_id.get(order, UUID(int=0))
        last_id[order] = event_id
    return found


def test_a_load_waits_for_an_open_append_to_one_of_its_orders_and_counts_on_from_it(
    database_url: str, connection: Connection, event: Make, tmp_path: Path
) -> None:
    orders = sorted(uuid4() for _ in range(5))
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(event(subject=order, id=str(n)) for n in range(2) for order in orders))
    with open_connection(database_url) as other, ThreadPoolExecutor() as pool:
        with other.transaction():
            append_json(other, orders[2], [PAID | {"source": "/live", "source_id": "live"}])
            loaded = pool.submit(ingest, database_url, [path])
            until(lambda: waiting_for_a_lock(connection, "eventstore ingest"))
        assert loaded.result(timeout=60).appended == 10
    assert streams(connection) == {
        order: ["live", "0", "1"] if order == orders[2] else ["0", "1"] for order in orders
    }


def test_an_event_that_a_live_writer_appends_meanwhile_is_a_duplicate(
    database_url: str, connection: Connection, event: Make, tmp_path: Path
) -> None:
    order = uuid4()
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join(event(subject=order, id=str(n)) for n in range(4)))
    same = json.loads(event(id="2"))
    live = {
        "type": same["type"],
        "data": same["data"],
        "created_at": same["time"],
        "source": same["source"],
        "source_id": "2",
    }
    with open_connection(database_url) as other, ThreadPoolExecutor() as pool:
        with other.transaction():
            append_json(other, order, [live])
            loaded = pool.submit(ingest, database_url, [path])
            until(lambda: waiting_for_a_lock(connection, "eventstore ingest"))
        done = loaded.result(timeout=60)
    assert (done.appended, done.duplicates, done.rejected) == (3, 1, 0)
    assert streams(connection) == {order: ["2", "0", "1", "3"]}


def test_a_deadlock_with_a_live_transaction_is_tried_again(
    database_url: str, connection: Connection, event: Make, tmp_path: Path
) -> None:
    (first,), (second,) = connection.execute(  # in the order in which a load appends to them
        "SELECT o FROM unnest(%s::uuid[]) AS o ORDER BY order_bucket(o), o", ([uuid4(), uuid4()],)
    )
    path = tmp_path / "events.ndjson"
    path.write_bytes(event(subject=first, id="1") + b"\n" + event(subject=second, id="2"))
    with open_connection(database_url) as other, ThreadPoolExecutor() as pool:
        other.execute("SET deadlock_timeout = '30s'")  # so that the load is the one to give way
        with other.transaction():
            append_json(other, second, [PAID])
            loaded = pool.submit(ingest, database_url, [path])
            until(lambda: waiting_for_a_lock(connection, "eventstore ingest"))
            append_json(other, first, [PAID])  # the load has claimed it and waits for us
        assert loaded.result(timeout=60).appended == 2
    assert streams(connection) == {first: [None, "1"], second: [None, "2"]}


def test_loads_and_live_writers_at_once_lose_nothing_and_a_follower_sees_each_event_once(
    database_url: str, connection: Connection, event: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_CHUNK_LINES", 40)
    orders = [uuid4() for _ in range(30)]
    random = Random(3)
    lines = [event(id=f"f{n}", subject=random.choice(orders)) for n in range(800)]
    paths = [tmp_path / f"{n}.ndjson" for n in range(3)]
    paths[0].write_bytes(b"\n".join(lines[:500]))
    paths[1].write_bytes(b"\n".join(lines[300:]))  # an overlap
    paths[2].write_bytes(b"\n".join(lines[:500]))  # the same once more

    def live(number: int) -> None:
        with open_connection(database_url) as writer:
            for n in range(150):
                fact = {"source": "/live", "source_id": f"l{number}-{n}"}
                append_json(writer, Random(f"{number} {n}").choice(orders), [PAID | fact])

    with ThreadPoolExecutor() as pool, open_connection(database_url) as reader:
        loads = [pool.submit(ingest, database_url, [path]) for path in paths]
        writers = [pool.submit(live, number) for number in range(2)]
        seen: list[str] = []
        watermark = None
        while True:
            finished = all(future.done() for future in loads) and all(future.done() for future in writers)
            while events := read(reader, watermark):
                seen.extend(str(recorded.source_id) for recorded in events)
                watermark = events[-1].id
            if finished:
                break
        for writer in writers:
            writer.result()
        results = [future.result() for future in loads]
    assert sum(done.appended for done in results) == 800
    assert sum(done.duplicates for done in results) == 700
    expected = {f"f{n}" for n in range(800)} | {f"l{number}-{n}" for number in range(2) for n in range(150)}
    assert len(seen) == len(expected)
    assert set(seen) == expected
    assert sum(map(len, streams(connection).values())) == len(expected)


@pytest.fixture
def as_ingester(connection: Connection, database_url: str) -> Iterator[Connection]:
    """A connection of a login that is a member of eventstore_ingester and of nothing else."""
    role = sql.Identifier(f"ingester_{uuid4().hex}")
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN IN ROLE eventstore_ingester").format(role))
    with open_connection(database_url) as session:
        session.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(role))
        yield session
    connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_member_of_eventstore_ingester_can_ingest_and_retry_and_nothing_else(
    as_ingester: Connection, connection: Connection, event: Make, tmp_path: Path
) -> None:
    order = uuid4()
    conflict = event(subject=order, id="1", type="OrderShipped")
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"\n".join([event(subject=order, id="1"), b"nonsense", conflict]))
    for appended in (1, 0):
        done = ingest(as_ingester, [path])
        assert (done.read, done.appended, done.rejected) == (3, appended, 2)
    assert files_waiting(as_ingester, tmp_path) == []
    assert retry_rejects(as_ingester).rejected == 2
    for statement in (
        "INSERT INTO order_events SELECT * FROM order_events",
        "SELECT count(*) FROM order_events",
        "DELETE FROM rejects",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_ingester.execute(statement)
    assert streams(connection) == {order: ["1"]}


def test_names_of_an_ingesters_own_do_not_come_before_those_of_the_log(
    as_ingester: Connection, connection: Connection, event: Make, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(event())
    as_ingester.execute("CREATE TEMPORARY TABLE order_events (LIKE public.ingested_files)")
    as_ingester.execute("SET search_path = pg_temp, public")
    assert ingest(as_ingester, [path]).appended == 1
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (1,)
    as_ingester.execute("DROP TABLE pg_temp.order_events")  # or its owner could not be dropped


def test_a_role_that_is_set_after_login_can_ingest_too(
    connection: Connection, event: Make, tmp_path: Path
) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(event())
    connection.execute("SET ROLE eventstore_ingester")
    assert ingest(connection, [path]).appended == 1


def test_a_staging_table_of_the_callers_own_making_is_not_trusted(as_ingester: Connection) -> None:
    """The function runs with the rights of the owner: it must not run what a caller planted."""
    columns = (
        "1::bigint AS line, gen_random_uuid() AS order_id, 'OrderPaid' AS event_type, "
        "'{}'::jsonb AS event_data, 0::bigint AS created_at, 's' AS source, '1' AS source_id, "
        "'{}'::jsonb AS metadata"
    )
    for planted in (f"VIEW staged_events AS SELECT {columns}", f"TABLE staged_events AS SELECT {columns}"):
        with as_ingester.transaction(force_rollback=True):
            as_ingester.execute(f"CREATE TEMP {planted}")
            as_ingester.execute("SELECT open_staging()")
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState), as_ingester.transaction():
                as_ingester.execute("SELECT append_staged()")


def test_without_a_staging_table_the_error_says_what_to_do(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as raised:
        connection.execute("SELECT append_staged()")
    assert raised.value.diag.message_hint == "Call open_staging(), then COPY into it."


def test_the_staging_table_is_empty_after_each_commit_and_can_be_used_at_once_again(
    connection: Connection,
) -> None:
    rows = (
        "INSERT INTO staged_events "
        "SELECT n, gen_random_uuid(), 'OrderShipped', '{}', n, '/sql', n::text, '{}' "
        "FROM generate_series(1, 3) AS n"
    )
    for total in (3, 6):
        with connection.transaction():
            connection.execute("SELECT open_staging()")
            connection.execute(rows)
            assert connection.execute("SELECT * FROM append_staged()").fetchall() == []
        assert connection.execute("SELECT count(*) FROM staged_events").fetchone() == (0,)
        assert sum(map(len, streams(connection).values())) == total


def test_line_numbers_may_have_gaps_of_any_size(connection: Connection) -> None:
    lines = [-5, 3, 2**26, 2**26 + 3, 2**35]
    with connection.transaction():
        connection.execute("SELECT open_staging()")
        connection.execute(
            "INSERT INTO staged_events SELECT n, %s, 'OrderShipped', '{}', 0, '/sql', n, '{}' "
            "FROM unnest(%s::bigint[]) AS n",
            (uuid4(), lines[::-1]),
        )
        connection.execute("SELECT append_staged()")
    assert list(streams(connection).values()) == [[str(line) for line in lines]]


def test_other_isolation_levels_are_refused(connection: Connection) -> None:
    connection.execute("SELECT open_staging()")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"):
            connection.execute("SELECT append_staged()")
