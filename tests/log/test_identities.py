"""What an event is known by: the hash in the unique index, and two identities that have the same one."""

import hashlib
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from eventstore.ingestion.admission import StagedEvent
from eventstore.ingestion.staging import append as append_staged
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.errors import InvalidEventError
from tests.shipped import EVENTS

Connection = psycopg.Connection[Any]
ORDER, OF_THE_SAME_BEGINNING = UUID("0198c2f4-0000-7000-8000-000000000001"), UUID(int=(0x0198C2F4 << 96) + 7)


@pytest.fixture
def colliding(database_url: str) -> Iterator[Connection]:
    """A session with a log in which all identities of an order have the same hash."""
    with open_connection(database_url) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION event_identity(order_id uuid, source text, source_id text) "
            "RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN uuid_send(order_id)"
        )
    with open_connection(database_url) as connection:
        connection.execute("SET statement_timeout = '20s'")
        yield connection


@pytest.fixture
def neighbours(colliding: Connection) -> tuple[UUID, UUID]:
    """Two orders of one bucket whose identities have the same hash."""
    colliding.execute(
        "CREATE OR REPLACE FUNCTION event_identity(order_id uuid, source text, source_id text) "
        "RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN substring(uuid_send(order_id), 1, 4)"
    )
    rows = colliding.execute(
        "SELECT o FROM generate_series(1, 200) AS n, "
        "CAST('0198c2f4-0000-7000-8000-' || lpad(n::text, 12, '0') AS uuid) AS o "
        "WHERE order_bucket(o) = order_bucket(%s) AND o <> %s LIMIT 1",
        (ORDER, ORDER),
    )
    return ORDER, rows.fetchall()[0][0]


def event(source_id: str, source: str = "/s", **more: Any) -> dict[str, Any]:
    return {"type": "OrderShipped", "data": {}, "source": source, "source_id": source_id, **more}


def append(connection: Connection, order: UUID, *events: dict[str, Any], by: str = "append_events") -> None:
    connection.execute(f"SELECT {by}(%s, %s)", (order, Jsonb(list(events))))


def recorded(connection: Connection, order: UUID) -> list[str]:
    rows = connection.execute(
        "SELECT source_id FROM order_events WHERE order_id = %s ORDER BY version", (order,)
    )
    return [source_id for (source_id,) in rows]


def staged(source_id: str, order: UUID = ORDER, source: str = "/s") -> StagedEvent:
    return StagedEvent(str(order), "OrderShipped", "{}", 0, source, source_id, "{}")


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20) | st.text(
    "\\x0:1"
)


@given(order=st.uuids(), source=text, source_id=text)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_identity_is_the_beginning_of_the_order_and_a_hash_of_lengths_and_values(
    connection: Connection, order: UUID, source: str, source_id: str
) -> None:
    said = source.encode()
    hashed = hashlib.sha256(f"{order}{len(said)}:".encode() + said + source_id.encode()).digest()
    row = connection.execute("SELECT event_identity(%s, %s, %s)", (order, source, source_id)).fetchone()
    assert row == (order.bytes[:4] + hashed[:11],)


def test_source_and_id_are_not_mixed_up(connection: Connection) -> None:
    pairs = [("a", "bc"), ("ab", "c"), ("1:a", "b"), ("1", ":ab"), ("\\", "\\\\"), ("\\\\", "\\"), ("é", "e")]
    append(connection, ORDER, *(event(source_id, source) for source, source_id in pairs))
    append(connection, ORDER, *(event(source_id, source) for source, source_id in pairs))
    assert recorded(connection, ORDER) == [source_id for _, source_id in pairs]


def test_the_same_identity_in_another_order_is_another_event(connection: Connection) -> None:
    orders = [ORDER, OF_THE_SAME_BEGINNING, *(uuid4() for _ in range(40))]
    for order in orders * 2:
        append(connection, order, event("1"))
    for order in orders:
        assert recorded(connection, order) == ["1"]


@pytest.mark.parametrize("by", ["append_events", "record_events"])
def test_another_identity_with_the_same_hash_is_refused_in_words_and_at_once(
    colliding: Connection, by: str
) -> None:
    append(colliding, ORDER, event("first"), by=by)
    for again, other in product(range(2), [event("second"), event("first", "/other")]):
        with pytest.raises(psycopg.errors.UniqueViolation, match="have the same hash as those of version 1"):
            append(colliding, ORDER, other, by=by)
        append(colliding, ORDER, event("first"), by=by)
        assert recorded(colliding, ORDER) == ["first"], again
    append(colliding, uuid4(), event("second"), by=by)


def test_of_a_call_with_such_an_identity_nothing_is_appended(colliding: Connection) -> None:
    append(colliding, ORDER, event("first"))
    without = {"type": "OrderShipped", "data": {}}
    with pytest.raises(InvalidEventError, match=r"the same hash.*Give the event another source_id"):
        append_json(colliding, ORDER, [without, event("second")], codec=EVENTS)
    assert recorded(colliding, ORDER) == ["first"]


@pytest.mark.parametrize("dated", [{}, {"created_at": 0}])
def test_the_hash_of_an_event_of_another_order_is_refused_too(
    colliding: Connection, neighbours: tuple[UUID, UUID], dated: dict[str, Any]
) -> None:
    first, second = neighbours
    append(colliding, first, event("1", **dated))
    with pytest.raises(psycopg.errors.UniqueViolation, match=f"those of version 1 of order {first}"):
        append(colliding, second, event("1", **dated))
    with pytest.raises(psycopg.errors.UniqueViolation, match="have the same hash"):
        colliding.execute("SELECT append_events(%s, %s, 0)", (second, Jsonb([event("2", **dated)])))
    append(colliding, first, event("1", **dated))
    assert [recorded(colliding, order) for order in neighbours] == [["1"], []]


def test_a_line_with_the_hash_of_another_order_is_rejected_and_the_others_go_in(
    colliding: Connection, neighbours: tuple[UUID, UUID]
) -> None:
    first, second = neighbours
    other = UUID(int=1)
    lines = list(enumerate([staged("1", first), staged("1", second), staged("1", other), staged("1", first)]))
    for again in range(2):
        (settled,) = append_staged(colliding, lines, [], lambda _: None)
        assert settled.appended == ([] if again else [0, 2])
        assert settled.duplicates == ([0, 2, 3] if again else [3])
        assert [(line, reason) for line, reason, _ in settled.refused] == [(1, "identity_conflict")]
    assert [recorded(colliding, order) for order in (first, second, other)] == [["1"], [], ["1"]]


def test_a_line_with_the_hash_of_another_is_rejected_and_the_others_go_in(colliding: Connection) -> None:
    append(colliding, ORDER, event("first", created_at=0))
    new, other = uuid4(), uuid4()
    lines = [
        staged("second"),
        staged("1", new),
        staged("first"),
        staged("2", new),
        staged("1", new),
        staged("2", new),
        staged("1", other),
    ]
    for number in range(2):
        (settled,) = append_staged(colliding, list(enumerate(lines)), [], lambda _: None)
        assert settled.appended == ([] if number else [1, 6])
        assert settled.duplicates == ([1, 2, 4, 6] if number else [2, 4])
        assert [(line, reason) for line, reason, _ in settled.refused] == [
            (line, "identity_conflict") for line in (0, 3, 5)
        ]
        assert all("same hash" in detail for _, _, detail in settled.refused)
    assert [recorded(colliding, order) for order in (ORDER, new, other)] == [["first"], ["1"], ["1"]]


def test_a_line_like_a_recorded_event_stays_a_duplicate_behind_one_with_its_hash(
    colliding: Connection,
) -> None:
    append(colliding, ORDER, event("first", created_at=0))
    lines = list(enumerate([staged("second"), staged("first"), staged("1", uuid4())]))
    (settled,) = append_staged(colliding, lines, [], lambda _: None, expect_duplicates=True)
    assert (settled.appended, settled.duplicates, settled.refused[0].line) == ([2], [1], 0)


@pytest.mark.parametrize("expected", [False, True])
def test_duplicates_in_a_long_stream_and_a_short_one_are_found(
    connection: Connection, expected: bool
) -> None:
    long, short = uuid4(), uuid4()
    append(connection, long, *(event(str(number), created_at=0) for number in range(50)))
    append(connection, short, *(event(str(number), created_at=0) for number in range(32)))
    numbers: list[tuple[UUID, int]] = [
        (long, 0),
        (long, 49),
        (long, 50),
        (short, 0),
        (short, 31),
        (short, 32),
    ]
    lines = [(line, staged(str(number), order)) for line, (order, number) in enumerate(numbers)]
    (settled,) = append_staged(connection, lines, [], lambda _: None, expect_duplicates=expected)
    assert (settled.appended, sorted(settled.duplicates)) == ([2, 5], [0, 1, 3, 4])
