"""A stream of many events costs an append, and a question, no more than a short one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.kernel.recorded import from_ms
from tests.shipped import refresh_stale, state

Connection = psycopg.Connection[Any]
MINUTE = 60_000
LONG = 20_000


@pytest.fixture
def order(connection: Connection) -> UUID:
    """A long stream among many orders of a few events, as the planner knows them."""
    order = uuid4()
    stage(connection, "SELECT n, md5((n / 4)::text)::uuid, n FROM generate_series(1, 20000) AS n")
    stage(connection, f"SELECT n, '{order}'::uuid, n FROM generate_series(1, {LONG}) AS n")
    connection.execute("VACUUM ANALYZE order_events")
    return order


def stage(connection: Connection, rows: str) -> list[tuple[int, str]]:
    with connection.transaction():
        connection.execute("SELECT open_staging()")
        connection.execute(
            "INSERT INTO pg_temp.staged_events (line, order_id, event_type, event_data, created_at, source, "
            'source_id, metadata) SELECT n, o, \'OrderAmountCorrected\', \'{"amount": "1.00", "currency": '
            f"\"EUR\"}}', n * {MINUTE}::bigint, '/s', n::text, '{{}}' FROM ({rows}) AS r (n, o, m)"
        )
        return connection.execute("SELECT line, outcome FROM append_staged() ORDER BY 1").fetchall()


class Read:
    rows = 0  #: of the log


@contextmanager
def counted(connection: Connection) -> Iterator[Read]:
    """How many events of the log are read within the block."""
    read, before = Read(), _read_so_far(connection)
    yield read
    read.rows = _read_so_far(connection) - before


def _read_so_far(connection: Connection) -> int:
    connection.execute("SELECT pg_stat_force_next_flush()")
    (rows,) = connection.execute(
        "SELECT sum(idx_tup_fetch + seq_tup_read) FROM pg_stat_user_tables "
        "WHERE relname LIKE 'order\\_events\\_%'"
    ).fetchone() or (0,)
    return int(rows)


@pytest.mark.parametrize("times", [1, 12])
def test_an_undated_append_reads_a_few_events(connection: Connection, order: UUID, times: int) -> None:
    """Also when the plans are those for any value."""
    for _ in range(times):
        with counted(connection) as read:
            connection.execute(
                "SELECT append_events(%s, %s)", (order, Jsonb([{"type": "OrderShipped", "data": {}}]))
            )
        assert 0 < read.rows < 100


def test_a_retry_and_an_undated_line_read_a_few_events(connection: Connection, order: UUID) -> None:
    event = {"type": "OrderShipped", "data": {}, "source": "/s", "source_id": str(LONG // 2)}
    for _ in range(8):
        with counted(connection) as read:
            connection.execute("SELECT append_events(%s, %s)", (order, Jsonb([event])))
        assert 0 < read.rows < 100
    with counted(connection) as read:
        found = stage(connection, f"SELECT n, '{order}'::uuid, n FROM generate_series(100, 103) AS n")
    assert found == [(n, "duplicate") for n in range(100, 104)]
    assert 0 < read.rows < 200


def append_undated(connection: Connection, order: UUID) -> None:
    event = {"type": "OrderShipped", "data": {}}
    connection.execute("SELECT append_events(%s, %s)", (order, Jsonb([event])))


def stage_undated(connection: Connection, order: UUID) -> None:
    with connection.transaction():
        connection.execute("SELECT open_staging()")
        connection.execute(
            "INSERT INTO pg_temp.staged_events VALUES (1, %s, 'OrderShipped', '{}', NULL, '/s', '1', '{}')",
            (order,),
        )
        assert connection.execute("SELECT line, outcome FROM append_staged()").fetchall() == []


@pytest.mark.parametrize("append", [append_undated, stage_undated])
def test_an_undated_event_is_stamped_with_the_latest_time_wherever_that_stands(
    connection: Connection, append: Callable[[Connection, UUID], None]
) -> None:
    for count, place in [(1, 1), (32, 1), (33, 33), (40, 2), (40, 32), (40, 33), (50, 40)]:
        stream, latest = uuid4(), 4_000_000_000_000
        events = [{"type": "OrderShipped", "data": {}, "created_at": n} for n in range(count)]
        events[place - 1]["created_at"] = latest
        connection.execute("SELECT append_events(%s, %s)", (stream, Jsonb(events)))
        append(connection, stream)
        row = connection.execute(
            "SELECT created_at FROM order_events WHERE order_id = %s ORDER BY version DESC LIMIT 1", (stream,)
        ).fetchone()
        assert row == (latest,), (count, place)


def test_a_question_about_a_moment_reads_a_few_events(connection: Connection, order: UUID) -> None:
    refresh_stale(connection)
    late = {"type": "OrderShipped", "data": {}, "created_at": MINUTE * 100 + 1}
    connection.execute("SELECT append_events(%s, %s)", (order, Jsonb([late])))
    # PostgreSQL 15 takes a bitmap where later ones take the index, and counts some rows more for it.
    half = LONG / 2 if connection.info.server_version >= 160_000 else LONG * 0.7
    for _ in range(12):
        with counted(connection) as read:
            assert state(connection, order, at=from_ms(MINUTE * LONG // 2)) is not None
        assert 0 < read.rows < half
    refresh_stale(connection)
    for _ in range(12):
        with counted(connection) as read:
            found = state(connection, order, at=from_ms(MINUTE * LONG // 2))
        assert found is not None
        assert found.shipped_at == from_ms(MINUTE * 100 + 1)
        assert 0 < read.rows < 500
