"""Each step of a load, in the interleaving that it exists for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tenacity import stop_after_attempt

from eventstore.ingestion import staging
from eventstore.ingestion.admission import StagedEvent
from eventstore.ingestion.staging import Refused, Settled, append
from eventstore.log.connection import open_connection
from tests.log.pausing import is_blocked, run_clock, set_clock, until

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
NOON = 1_900_000_000_000


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


def live(connection: Connection, order: UUID, *events: dict[str, Any]) -> None:
    connection.execute("SELECT append_events(%s, %s)", (order, Jsonb(list(events or (PAID,)))))


def stage(connection: Connection, *lines: tuple[UUID, str, int | None]) -> list[tuple[int, str]]:
    """Append lines (order, source id, business time) in one transaction; what was not appended, and why."""
    with connection.transaction():
        connection.execute("SELECT open_staging()")
        for number, (order, source_id, at) in enumerate(lines):
            connection.execute(
                "INSERT INTO pg_temp.staged_events VALUES (%s, %s, 'OrderShipped', '{}', %s, '/s', %s, '{}')",
                (number, order, at, source_id),
            )
        return connection.execute("SELECT line, outcome FROM append_staged() ORDER BY line").fetchall()


def recorded(connection: Connection, order: UUID) -> list[tuple[int, str | None]]:
    return connection.execute(
        "SELECT version, source_id FROM order_events WHERE order_id = %s ORDER BY version", (order,)
    ).fetchall()


# append_staged()


def test_ids_go_on_above_the_last_one_of_the_order_within_its_millisecond(connection: Connection) -> None:
    set_clock(connection, NOON)
    order = uuid4()
    live(connection, order, *[PAID] * 50)
    stage(connection, (order, "1", 0), (order, "2", 0))
    ids = connection.execute("SELECT id FROM order_events WHERE order_id = %s ORDER BY version", (order,))
    found = ids.fetchall()
    assert found == sorted(found)
    assert len(found) == 52


def test_a_chunk_that_meets_a_live_append_counts_on_from_it_in_the_same_call(
    connection: Connection, other: Connection
) -> None:
    order = uuid4()
    connection.execute("BEGIN")
    live(connection, order)
    with ThreadPoolExecutor(1) as threads:
        staging_it = threads.submit(stage, other, (order, "1", 0), (order, "2", 0))
        until(lambda: staging_it.done() or is_blocked(connection, other.info.backend_pid))
        connection.execute("COMMIT")
        assert staging_it.result(30) == []
    assert recorded(connection, order) == [(1, None), (2, "1"), (3, "2")]


def test_a_chunk_that_meets_its_own_event_finds_the_duplicate_in_the_same_call(
    connection: Connection, other: Connection
) -> None:
    order = uuid4()
    connection.execute("BEGIN")
    live(connection, order, {"type": "OrderShipped", "data": {}, "source": "/s", "source_id": "2"})
    with ThreadPoolExecutor(1) as threads:
        staging_it = threads.submit(stage, other, (order, "1", None), (order, "2", None))
        until(lambda: staging_it.done() or is_blocked(connection, other.info.backend_pid))
        connection.execute("COMMIT")
        assert staging_it.result(30) == [(1, "duplicate")]
    assert recorded(connection, order) == [(1, "2"), (2, "1")]


def test_a_chunk_whose_orders_others_always_take_first_gives_up(connection: Connection) -> None:
    connection.execute(
        "CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE unique_violation; END $$; "
        "CREATE TRIGGER taken BEFORE INSERT ON order_events FOR EACH ROW EXECUTE FUNCTION taken()"
    )
    connection.execute("SET statement_timeout = '20s'")
    with pytest.raises(psycopg.errors.SerializationFailure, match="other sessions keep appending"):
        stage(connection, (uuid4(), "1", 0))


def test_two_chunks_claim_their_orders_in_one_order_however_their_lines_are_arranged(
    connection: Connection, other: Connection, database_url: str
) -> None:
    (first,), (second,) = connection.execute(
        "SELECT o FROM unnest(%s::uuid[]) AS o ORDER BY order_bucket(o), o", ([uuid4(), uuid4()],)
    ).fetchall()
    with open_connection(database_url) as holder, ThreadPoolExecutor(1) as threads:
        holder.execute("BEGIN")
        live(holder, first)
        loading = threads.submit(stage, other, (second, "1", 0), (first, "2", 0))
        until(lambda: loading.done() or is_blocked(connection, other.info.backend_pid))
        connection.execute("SET lock_timeout = '5s'")
        live(connection, second)  # the load waits for the first order and has not claimed the second one
        holder.execute("COMMIT")
        assert loading.result(30) == []
    assert recorded(connection, second) == [(1, None), (2, "1")]


def test_a_stamped_line_happened_not_after_it_was_recorded_though_the_clock_jumps_meanwhile(
    connection: Connection,
) -> None:
    connection.execute("CREATE SEQUENCE ticks")
    run_clock(connection, f"{NOON} + (ARRAY[0, 100, -100])[least(3, nextval('ticks'))]")
    stage(connection, (uuid4(), "1", None))
    assert connection.execute("SELECT created_at, uuidv7_ms(id) FROM order_events").fetchall() == [
        (NOON, NOON)
    ]


def test_a_line_under_a_known_identity_is_a_duplicate_only_if_all_of_it_is_the_same(
    connection: Connection,
) -> None:
    order = uuid4()
    same = {"type": "OrderShipped", "data": {}, "source": "/s", "created_at": 5}
    live(
        connection,
        order,
        same | {"source_id": "same"},
        same | {"source_id": "time", "created_at": 6},
        same | {"source_id": "type", "type": "OrderDelivered"},
        same | {"source_id": "data", "data": {"carrier": "x"}},
        same | {"source_id": "stamped", "created_at": 7},
    )
    found = stage(
        connection,
        *((order, name, 5) for name in ("same", "time", "type", "data")),
        (order, "stamped", None),
        (order, "new", 5),
    )
    assert found == [(0, "duplicate"), (1, "conflict"), (2, "conflict"), (3, "conflict"), (4, "duplicate")]


# The halves and the transaction


def numbered(number: int) -> tuple[int, StagedEvent]:
    return number, StagedEvent(str(uuid4()), "OrderShipped", "{}", 0, "/s", str(number), "{}")


def refuse(connection: Connection, body: str) -> None:
    """What is inserted into the log by one statement, ``rows``, is refused as the body of a trigger says."""
    connection.execute(
        "CREATE FUNCTION refuse_rows() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {body} RETURN NULL; END $$; "
        "CREATE TRIGGER refuse_rows AFTER INSERT ON order_events REFERENCING NEW TABLE AS rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_rows()"
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contention is not waited for."""
    monkeypatch.setattr(staging._append.retry, "stop", stop_after_attempt(1))


CONTENTION = "IF (SELECT count(*) FROM rows) > {most} THEN RAISE EXCEPTION USING ERRCODE = '40001'; END IF;"


@pytest.mark.usefixtures("impatient")
def test_a_chunk_that_others_are_in_the_way_of_goes_in_by_halves_and_their_halves(
    connection: Connection,
) -> None:
    refuse(connection, CONTENTION.format(most=2))
    told: list[Settled] = []
    before = Refused(99, "not_json", "nonsense")
    settled = append(connection, [numbered(n) for n in range(10)], [before], told.append)
    assert settled == told
    assert [part.appended for part in settled] == [[0, 1], [2], [3, 4], [5, 6], [7], [8, 9]]
    assert [part.refused for part in settled] == [[before], [], [], [], [], []]
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (10,)


def test_of_a_chunk_with_a_line_that_is_refused_the_others_go_in(connection: Connection) -> None:
    refuse(
        connection,
        "IF EXISTS (SELECT FROM rows WHERE source_id = '6') THEN RAISE check_violation; END IF;",
    )
    settled = append(connection, [numbered(n) for n in range(10)], [], lambda _: None)
    assert sorted(line for part in settled for line in part.appended) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert [(line, reason) for part in settled for line, reason, _ in part.refused] == [
        (6, "refused_by_database")
    ]


@pytest.mark.usefixtures("impatient")
def test_a_line_is_not_rejected_because_others_are_in_the_way(connection: Connection) -> None:
    refuse(connection, CONTENTION.format(most=0))
    told: list[Settled] = []
    with pytest.raises(psycopg.errors.SerializationFailure):
        append(connection, [numbered(1)], [], told.append)
    assert told == []


def test_contention_that_ends_is_waited_for(connection: Connection) -> None:
    connection.execute("CREATE SEQUENCE attempts")
    refuse(connection, "IF nextval('attempts') = 1 THEN RAISE EXCEPTION USING ERRCODE = '40P01'; END IF;")
    settled = append(connection, [numbered(n) for n in range(4)], [], lambda _: None)
    assert [part.appended for part in settled] == [[0, 1, 2, 3]]


def test_what_became_of_the_lines_is_kept_with_them_or_they_are_not_appended(connection: Connection) -> None:
    def fails(_: Settled) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        append(connection, [numbered(n) for n in range(4)], [], fails)
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (0,)
