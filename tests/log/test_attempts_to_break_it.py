"""What somebody might do to the protocol, on purpose or not, and what the log answers."""

import json
import subprocess
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.log.append import append_json
from eventstore.log.errors import InvalidEventError
from eventstore.server.cluster import program

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}


@pytest.fixture
def other(database_url: str) -> Any:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def append(connection: Connection, order: UUID, *events: dict[str, Any]) -> list[UUID]:
    rows = connection.execute("SELECT id FROM append_events(%s, %s)", (order, json.dumps(events)))
    return [row[0] for row in rows]


def feed(connection: Connection, after: UUID | None = None) -> list[UUID]:
    connection.execute("SELECT publish_horizon()")
    return [row[0] for row in connection.execute("SELECT id FROM read_events(%s, 1000)", (after,))]


@pytest.mark.parametrize("forged", ["-1", "0", "1", "281474976710655", ""])
def test_a_forged_floor_hides_no_open_append_from_the_readers(
    connection: Connection, other: Connection, forged: str
) -> None:
    other.execute("SELECT set_config('eventstore.floor_ms', %s, false)", (forged,))
    with other.transaction():
        (slow,) = append(other, uuid4(), PAID)
        (fast,) = append(connection, uuid4(), PAID)
        first = feed(connection)
    assert first + feed(connection, first[-1] if first else None) == sorted([slow, fast])


def test_ids_stay_in_order_of_versions_when_a_setting_claims_a_floor_of_the_past(
    connection: Connection,
) -> None:
    order = uuid4()
    ids = append(connection, order, PAID)
    feed(connection)
    connection.execute("SET eventstore.floor_ms = '1'")
    ids += append(connection, order, PAID)
    assert ids == sorted(ids)
    assert feed(connection) == ids


def test_a_prepared_append_holds_the_feed_until_it_is_committed(
    connection: Connection, other: Connection
) -> None:
    if connection.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("this server has max_prepared_transactions = 0")
    other.execute("BEGIN")
    (prepared,) = append(other, uuid4(), PAID)
    other.execute("PREPARE TRANSACTION 'append'")
    (later,) = append(connection, uuid4(), PAID)
    assert feed(connection) == []
    connection.execute("COMMIT PREPARED 'append'")
    assert feed(connection) == sorted([prepared, later])


def test_a_publisher_that_rolls_back_lowers_nothing(connection: Connection, other: Connection) -> None:
    (first,) = append(connection, uuid4(), PAID)
    with other.transaction(force_rollback=True):
        other.execute("SELECT publish_horizon()")
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN 1000::bigint"
    )
    shown = connection.execute("SELECT publish_horizon()").fetchone()
    (second,) = append(connection, uuid4(), PAID)
    assert shown is not None
    assert second.int >> 80 > shown[0] >= first.int >> 80


def test_sessions_with_the_same_random_seed_mint_different_ids(
    connection: Connection, other: Connection
) -> None:
    frozen = "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN 5000::bigint"
    connection.execute(frozen)
    ids = []
    for session in (connection, other):
        session.execute("SELECT setseed(0.5)")
        ids += append(session, uuid4(), PAID)
    assert len({i.int >> 64 for i in ids}) == 1, (
        "the same millisecond and counter, or this test tries nothing"
    )
    assert len(set(ids)) == 2


def test_a_writer_cannot_slip_functions_of_its_own_into_the_append(
    connection: Connection, database_url: str
) -> None:
    connection.execute(
        "GRANT CREATE, TEMPORARY ON DATABASE CURRENT TO PUBLIC".replace(
            "CURRENT", psycopg.sql.Identifier(connection.info.dbname).as_string(connection)
        )
    )
    with psycopg.connect(database_url, autocommit=True) as writer:
        writer.execute("SET ROLE eventstore_writer")
        writer.execute("CREATE SCHEMA evil")
        writer.execute(
            "CREATE FUNCTION evil.hold_horizon() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
        )
        writer.execute(
            "CREATE FUNCTION pg_temp.hold_horizon() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
        )
        writer.execute("CREATE TEMPORARY TABLE order_events (id uuid)")
        writer.execute("SET search_path = evil, pg_temp, public")
        (minted,) = append(writer, uuid4(), PAID)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(
                "CREATE FUNCTION public.business_ms(text) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"
            )
    assert minted.int >> 80 > 1
    assert feed(connection) == [minted]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (5, "an event must be a JSON object"),
        ({"data": {}}, 'an event needs a "type"'),
        ({"type": 5, "data": {}}, 'an event needs a "type"'),
        ({"type": "OrderPaid"}, 'needs "data"'),
        ({"type": "OrderPaid", "data": None}, "must be a JSON object, not null"),
        ({"type": "OrderPaid", "data": []}, "must be a JSON object, not array"),
        ({"type": "", "data": {}}, "1 to 200 characters"),
        ({"type": "x" * 201, "data": {}}, "1 to 200 characters"),
        ({"type": "OrderPaid", "data": {}, "creted_at": 1}, "unknown keys: creted_at"),
        ({"type": "OrderPaid", "data": {}, "source": 1, "source_id": "1"}, "must be strings"),
        ({"type": "OrderPaid", "data": {}, "source": "/s"}, "come together"),
        (
            {"type": "OrderPaid", "data": {}, "source": "/s", "source_id": "x" * 2000},
            "longer than 2000 bytes",
        ),
        ({"type": "OrderPaid", "data": {}, "metadata": []}, "metadata must be a JSON object, not array"),
        ({"type": "OrderPaid", "data": {}, "created_at": "soon"}, "is not a time"),
        ({"type": "OrderPaid", "data": {}, "created_at": True}, "is not a time"),
        ({"type": "OrderPaid", "data": {}, "created_at": 1e30}, "is not a time"),
        ({"type": "OrderPaid", "data": {}, "created_at": 253402300800000}, "outside the years 1 to 9999"),
        ({"type": "OrderPaid", "data": {"amount": ["1.00"]}}, 'its amount ["1.00"] is not a decimal string'),
        ({"type": "OrderPaid", "data": {"amount": "1.001"}}, "fits DECIMAL(10,2)"),
    ],
)
def test_a_refused_event_is_told_what_is_wrong_with_it(connection: Connection, event: Any, said: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        append(connection, uuid4(), PAID, event)
    assert said in str(refused.value)
    with pytest.raises(InvalidEventError) as translated:
        append_json(connection, uuid4(), [PAID, event])
    assert said in str(translated.value)
    assert feed(connection) == []


@pytest.mark.parametrize("arguments", ["NULL, '[]'", "gen_random_uuid(), NULL", "gen_random_uuid(), '{}'"])
def test_missing_arguments_are_refused(connection: Connection, arguments: str) -> None:
    with pytest.raises(psycopg.DataError):
        connection.execute(f"SELECT append_events({arguments})")


def test_an_empty_array_appends_nothing(connection: Connection) -> None:
    assert append(connection, uuid4()) == []


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_a_limit_below_one_is_refused(connection: Connection, limit: int | None) -> None:
    with pytest.raises(psycopg.DataError, match="max_events must be 1 or more"):
        connection.execute("SELECT read_events(NULL, %s)", (limit,))


def test_cents_of_payload_version_1_are_taken(connection: Connection) -> None:
    cents = {"type": "OrderPaid", "data": {"amount": 1250}, "metadata": {"schema_version": 1}}
    assert len(append(connection, uuid4(), cents)) == 1


def test_a_business_time_with_fractions_of_a_millisecond_is_taken(connection: Connection) -> None:
    append(connection, uuid4(), PAID | {"created_at": 1767225600000.4})
    assert connection.execute("SELECT created_at FROM order_events").fetchone() == (1767225600000,)


def test_thirty_appends_to_one_new_order_at_once_get_the_versions_1_to_30(
    database_url: str, connection: Connection
) -> None:
    order = str(uuid4()).encode()
    clients = [psycopg.connect(database_url, autocommit=True) for _ in range(30)]
    try:
        for client in clients:
            client.pgconn.send_query_params(
                b'SELECT version FROM append_events($1, \'[{"type": "OrderPaid", "data": {}}]\')', [order]
            )
        results = [client.pgconn.get_result() for client in clients]
    finally:
        for client in clients:
            client.close()
    assert sorted(int(result.get_value(0, 0) or 0) for result in results if result) == list(range(1, 31))


def test_a_restored_dump_mints_above_all_that_was_shown_before(
    connection: Connection, database_url: str, new_database: Callable[..., str]
) -> None:
    ids = append(connection, uuid4(), PAID, PAID)
    # The server that is dumped is an hour ahead of the one that takes it over.
    connection.execute("SELECT setval('feed_horizon', clock_ms() + 3600000)")
    shown = feed(connection)
    published = connection.execute("SELECT last_value FROM feed_horizon").fetchone()
    dumped = subprocess.run(
        [program("pg_dump"), "--format=plain", database_url], capture_output=True, check=False
    )
    assert dumped.returncode == 0, dumped.stderr
    restored = new_database(migrated=False)
    # Without ON_ERROR_STOP: an older server does not know all settings that a newer pg_dump begins with.
    subprocess.run([program("psql"), "-q", restored], input=dumped.stdout, capture_output=True, check=True)
    with psycopg.connect(restored, autocommit=True) as successor:
        assert feed(successor) == shown == ids
        assert published is not None
        assert [i.int >> 80 > published[0] for i in append(successor, uuid4(), PAID)] == [True]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            successor.execute("DELETE FROM order_events")
