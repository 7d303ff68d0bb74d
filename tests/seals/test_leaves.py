"""A leaf is the same for everybody: by a second hand, under any setting, whatever an event holds."""

import sys
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from eventstore.log.connection import Connection, open_connection
from eventstore.seals.leaves import BEGINNING, buckets, read_leaves
from eventstore.seals.tree import HASH_BYTES, ID_BYTES
from tests.buckets import BUCKETS, part
from tests.robustness import old_release
from tests.seals.canonical import leaf_hash
from tests.seals.events import append_orders
from tests.shipped import upgrade

END = UUID(int=2**128 - 1)
_COLUMNS = (
    "id, order_id, version, event_type, event_data::text, created_at, source, source_id, metadata::text"
)

#: JSON as a producer may write it, to be sealed as it is stored.
_WRITTEN = (
    '{"amount": "12.0", "n": 12.0, "m": 12.50, "zero": 0, "minus": -0.0, "exact": 0.1000000000000000000001}',
    '{"long": 123456789012345678901234567890123456789012345678901234567890}',
    '{"control": "\\u0001\\u001f\\u007f\\u2028", "half": "\\ud83d\\ude9a", "slash": "a\\/b"}',
    '{"b":1,"aa":2,"a":3,"ab":4,"ä":5,"":6,"B":7,"aaa":8}',
    '{"deep": [[[[{"x": [null, true, false]}]]]], "empty": [{}, [], ""]}',
)


def stored(connection: psycopg.Connection[Any]) -> dict[bytes, bytes]:
    """The leaf hashes by id, by a second hand."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM order_events").fetchall()
    return {row[0].bytes: leaf_hash(row) for row in rows}


def read(connection: Connection, number_of_buckets: int = BUCKETS) -> dict[bytes, bytes]:
    found = {}
    for table in buckets(connection, number_of_buckets).values():
        leaves = read_leaves(connection, table, BEGINNING, END)
        assert len(leaves.ids) == leaves.events * ID_BYTES
        assert len(leaves.hashes) == leaves.events * HASH_BYTES
        for number in range(leaves.events):
            id_ = leaves.ids[number * ID_BYTES : (number + 1) * ID_BYTES]
            found[id_] = leaves.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]
    return found


@pytest.fixture
def odd_events(connection: psycopg.Connection[Any]) -> None:
    append_orders(connection, 5, 12)
    for written in _WRITTEN:
        connection.execute(
            "SELECT append_events(%s, jsonb_build_array(jsonb_build_object('type', 'Odd', 'data', %s::jsonb, "
            "'metadata', %s::jsonb, 'source', %s::text, 'source_id', %s::text)))",
            (uuid4(), written, written, "a 'source' \" ", "\\ü\u2028"),
        )


@pytest.mark.usefixtures("odd_events")
def test_a_second_hand_writes_the_same_leaves(
    connection: psycopg.Connection[Any], session: Connection
) -> None:
    assert read(session) == stored(connection)


@pytest.mark.usefixtures("odd_events")
def test_no_setting_of_a_session_changes_a_leaf(
    connection: psycopg.Connection[Any], session: Connection
) -> None:
    expected = stored(connection)
    for setting in (
        "DateStyle = 'German'",
        "TimeZone = 'Asia/Kathmandu'",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "IntervalStyle = 'sql_standard'",
        "standard_conforming_strings = off",
        "backslash_quote = on",
        "quote_all_identifiers = on",
        "client_encoding = 'SJIS'",
        "search_path = ''",
        "enable_indexscan = off",
        "lc_numeric = 'C'",
    ):
        session.execute(f"SET {setting}")
        assert read(session) == expected, setting
    session.execute("SET client_encoding = 'UTF8'")


@pytest.mark.usefixtures("odd_events")
def test_functions_of_others_in_the_search_path_are_not_called(
    connection: psycopg.Connection[Any], session: Connection
) -> None:
    expected = stored(connection)
    connection.execute(
        "CREATE FUNCTION jsonb_build_array(uuid, uuid, int, text, jsonb, bigint, text, text, jsonb) "
        "RETURNS jsonb LANGUAGE sql AS $$ SELECT '[]'::jsonb $$; "
        "CREATE FUNCTION sha256(text) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$; "
        "CREATE FUNCTION convert_to(text, text) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$; "
        "CREATE FUNCTION string_agg_x(text) RETURNS bytea LANGUAGE sql AS $$ SELECT ''::bytea $$"
    )
    assert read(session) == expected


def test_the_leaves_of_a_bucket_come_in_the_order_of_the_ids_and_within_the_range_only(
    connection: psycopg.Connection[Any], session: Connection
) -> None:
    order = append_orders(connection, 60, 7)[30]
    (name,) = connection.execute(
        "SELECT tableoid::regclass::text FROM order_events WHERE order_id = %s LIMIT 1", (order,)
    ).fetchone() or ("",)
    table = sql.Identifier("public", name)
    ids = [
        row[0]
        for row in connection.execute(sql.SQL("SELECT id FROM {} ORDER BY id").format(table)).fetchall()
    ]
    whole = read_leaves(session, table, BEGINNING, END)
    assert whole.ids == b"".join(id_.bytes for id_ in ids)
    part = read_leaves(session, table, ids[2], ids[5])
    assert part.ids == b"".join(id_.bytes for id_ in ids[3:6])
    assert part.hashes == whole.hashes[3 * HASH_BYTES : 6 * HASH_BYTES]
    assert read_leaves(session, table, ids[5], ids[5]) == (0, b"", b"")


def test_a_bucket_that_was_detached_is_not_part_of_the_log(
    connection: psycopg.Connection[Any], session: Connection
) -> None:
    assert sorted(buckets(session, BUCKETS)) == list(range(BUCKETS))
    connection.execute(f"ALTER TABLE order_events DETACH PARTITION {part('order_events', 2)}")
    assert sorted(buckets(session, BUCKETS)) == [*range(2), *range(3, BUCKETS)]


@pytest.fixture
def deep_json() -> Iterator[None]:
    """Python reads JSON that is nested as deeply as PostgreSQL does."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    yield
    sys.setrecursionlimit(usual)


@pytest.mark.usefixtures("deep_json")
def test_a_second_hand_writes_the_same_leaves_of_what_an_old_release_let_in(
    new_database: Callable[..., str],
) -> None:
    url = new_database(migrated=False)
    old_release.make(url)
    upgrade(url)
    with open_connection(url) as odd:
        found = read(odd, 16)  # an old release knows no other number
        assert len(found) > 20
        assert found == stored(odd)
