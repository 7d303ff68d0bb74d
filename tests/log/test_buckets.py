"""The number of buckets: chosen while the log has no events, kept from then on, the same in every table."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.kernel.buckets import is_possible, label
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import open_connection
from eventstore.server.errors import ServerError
from tests.killing import running, until
from tests.log.schema_objects import objects
from tests.log.test_log_indexes import nobody_builds, waits_for
from tests.shipped import refresh, replay_bucket, upgrade

#: One after the other: to split a log into 128 takes 5,400 of the 14,000 locks that the server has for all.
pytestmark = pytest.mark.xdist_group("many-locks")

Connection = psycopg.Connection[Any]
SPLIT = "import sys; from tests.shipped import upgrade; upgrade(sys.argv[1], buckets=64)"
EVENT = Jsonb([{"type": "OrderDelivered", "data": {}}])


@pytest.fixture
def url(new_database: Callable[..., str]) -> str:
    """A log of 16 buckets without events, whatever the number that the other tests have."""
    made = new_database()
    upgrade(made, buckets=16)
    return made


def append(connection: Connection, order: UUID) -> None:
    connection.execute("SELECT append_events(%s, %s)", (order, EVENT))


def said_by(connection: Connection) -> set[int]:
    """The number of buckets, as everything says it that knows it."""
    tables = ("order_events", "orders_candidate", "order_history_candidate")
    found = {
        count
        for table in tables
        for count in connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = %s::regclass", (table,)
        ).fetchone()
        or ()
    }
    (trees,) = connection.execute("SELECT count(*) FROM seal_trees").fetchone() or (0,)
    (asked,) = connection.execute("SELECT log_buckets()").fetchone() or (0,)
    return found | {trees, asked}


@pytest.mark.parametrize(
    ("bucket", "of", "said"), [(0, 1, "00"), (63, 64, "63"), (7, 128, "007"), (200, 256, "200")]
)
def test_the_names_of_buckets_sort_as_their_numbers_do(bucket: int, of: int, said: str) -> None:
    assert label(bucket, of) == said
    assert sorted(label(each, of) for each in range(of)) == [label(each, of) for each in range(of)]


def test_a_power_of_two_up_to_256_is_possible() -> None:
    possible = [number for number in range(-300, 1100) if is_possible(number)]
    assert possible == [1, 2, 4, 8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize("number", [1, 4, 128])
def test_the_bucket_of_an_order_is_the_table_where_it_lies(url: str, number: int) -> None:
    upgrade(url, buckets=number)
    with psycopg.connect(url) as connection:
        assert said_by(connection) == {number}
        for _ in range(300):
            append(connection, uuid4())
        rows = connection.execute(
            "SELECT order_bucket(order_id), (regexp_match(tableoid::regclass::text, '_([0-9]+)$'))[1]::int, "
            "tableoid::regclass::text FROM order_events"
        ).fetchall()
    assert all(asked == lies for asked, lies, _ in rows)
    assert {table for _, _, table in rows} <= {
        f"order_events_{label(each, number)}" for each in range(number)
    }
    assert len({asked for asked, _, _ in rows}) > number // 2


def test_split_and_split_back_it_is_the_schema_of_a_fresh_install(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        before = objects(connection)
        upgrade(url, buckets=128)
        many = objects(connection)
        upgrade(url, buckets=2)
        upgrade(url, buckets=16)
        assert objects(connection) == before
    of_the_first = {kind_and_name for kind_and_name in before if "order_events_03" in kind_and_name[1]}
    assert {(kind, name.replace("_03", "_003")) for kind, name in of_the_first} <= many.keys()


def test_a_log_with_events_keeps_its_number(url: str) -> None:
    upgrade(url, buckets=4)
    with psycopg.connect(url, autocommit=True) as connection:
        append(connection, uuid4())
        before = objects(connection)
        with pytest.raises(
            ServerError, match="the log has 4 buckets and events, and keeps both: say 4 or nothing"
        ):
            upgrade(url, buckets=16)
        upgrade(url)
        upgrade(url, buckets=4)
        assert objects(connection) == before
        assert said_by(connection) == {4}


@pytest.mark.parametrize(
    "table", ["projections (name, fold_version, watermark)", "consumers (name, watermark)"]
)
def test_so_does_one_whose_events_were_taken_away(url: str, table: str) -> None:
    version = "'1', " if "fold_version" in table else ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"INSERT INTO {table} VALUES ('x', {version}gen_random_uuid())".encode())
        with pytest.raises(ServerError, match="the log has 16 buckets"):
            upgrade(url, buckets=4)


def test_a_log_that_was_refreshed_and_replayed_without_events_can_be_split(url: str) -> None:
    with open_connection(url) as connection:
        refresh(connection)
        for bucket in range(16):
            replay_bucket(connection, bucket)
        upgrade(url, buckets=4)
        assert connection.execute("SELECT count(*) FROM replay_buckets").fetchone() == (0,)
        assert buckets_of(connection) == 4
        assert replay_bucket(connection, 3).events == 0
        with pytest.raises(ValueError, match="buckets are 0 to 3"):
            replay_bucket(connection, 4)


@pytest.mark.parametrize("number", [0, -1, 3, 24, 512])
def test_other_numbers_are_refused(url: str, number: int) -> None:
    with pytest.raises(ServerError, match="give a power of two from 1 to 256"):
        upgrade(url, buckets=number)


def test_a_projection_of_a_team_is_split_with_what_its_buckets_have_of_their_own(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE tallies (order_id uuid PRIMARY KEY, total int);"
            "CREATE TABLE tallies_candidate (LIKE tallies INCLUDING ALL) PARTITION BY HASH (order_id);"
            "CREATE TABLE tallies_candidate_0 PARTITION OF tallies_candidate "
            "FOR VALUES WITH (MODULUS 1, REMAINDER 0);"
            "ALTER TABLE tallies_candidate_0 SET (fillfactor = 70);"
            "CREATE INDEX tallies_candidate_0_total ON tallies_candidate_0 (total);"
            "GRANT UPDATE (total), SELECT ON tallies_candidate_0 TO eventstore_projector;"
            "CREATE TABLE other_hashes (order_id uuid) PARTITION BY HASH (order_id)"
        )
        upgrade(url, buckets=4)
        rows = connection.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), c.reloptions, "
            "to_regclass(c.relname || '_total') IS NOT NULL, "
            "has_table_privilege('eventstore_projector', c.oid, 'SELECT'), "
            "has_column_privilege('eventstore_projector', c.oid, 'total', 'UPDATE'), "
            "has_column_privilege('eventstore_projector', c.oid, 'order_id', 'UPDATE') "
            "FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
            "WHERE inhparent = 'tallies_candidate'::regclass ORDER BY 1"
        ).fetchall()
        assert rows == [
            (
                f"tallies_candidate_0{bucket}",
                f"FOR VALUES WITH (modulus 4, remainder {bucket})",
                ["fillfactor=70"],
                True,
                True,
                True,
                False,
            )
            for bucket in range(4)
        ]


def test_killed_in_the_middle_of_splitting_it_is_as_before_and_the_next_run_splits_it(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection, open_connection(url) as keeper:
        before = objects(connection)
        with running(SPLIT, url) as process:
            with keeper.transaction():
                keeper.execute("LOCK TABLE seal_trees IN SHARE MODE")  # all tables are split by then
                until(lambda: waits_for(connection, "relation"))
                process.kill()
                process.wait()
            until(lambda: nobody_builds(connection))
        assert said_by(connection) == {16}
        assert objects(connection) == before
        upgrade(url, buckets=64)
        assert said_by(connection) == {64}


def test_two_at_once_take_turns_and_what_is_there_is_one_of_both(url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: upgrade(url, buckets=number), [4, 64]))
    with psycopg.connect(url, autocommit=True) as connection:
        [number] = said_by(connection)
        assert number in {4, 64}
        append(connection, uuid4())


def test_an_append_that_is_under_way_is_waited_for_and_the_log_keeps_its_number(url: str) -> None:
    with psycopg.connect(url) as writer, psycopg.connect(url, autocommit=True) as observer:
        append(writer, order := uuid4())
        with ThreadPoolExecutor(1) as threads:
            splitting = threads.submit(upgrade, url, buckets=4)
            until(lambda: waits_for(observer, "relation"))
            writer.commit()
            with pytest.raises(ServerError, match="the log has 16 buckets and events"):
                splitting.result(30)
        append(writer, order)
        writer.commit()
        assert observer.execute("SELECT max(version) FROM order_events").fetchone() == (2,)
        assert said_by(observer) == {16}


def test_sessions_that_appended_and_read_before_go_on_after_a_split(url: str) -> None:
    with psycopg.connect(url) as session:
        append(session, uuid4())
        session.rollback()  # its plans are there, its event is not
        upgrade(url, buckets=128)
        for _ in range(8):
            append(session, uuid4())
        session.commit()
        wrong = session.execute(
            "SELECT count(*) FROM order_events "
            "WHERE tableoid::regclass::text <> 'order_events_' || lpad(order_bucket(order_id)::text, 3, '0')"
        ).fetchone()
        assert wrong == (0,)
