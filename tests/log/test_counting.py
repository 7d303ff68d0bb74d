"""Row counts cost the same however large a table is, and say whether they are exact."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.engine.standing import lag_of
from eventstore.log import counting
from eventstore.log.append import append_json
from eventstore.log.counting import count_rows
from eventstore.log.feed import BEGINNING

Database = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "COUNTED", 100)


def make(connection: Database, rows: int) -> None:
    connection.execute("CREATE TABLE things (n int) WITH (autovacuum_enabled = off)")
    connection.execute("INSERT INTO things SELECT generate_series(1, %s)", (rows,))


@pytest.mark.parametrize("rows", [0, 1, 100])
def test_a_small_table_is_counted(connection: Database, rows: int) -> None:
    make(connection, rows)
    connection.execute("ANALYZE things")
    assert count_rows(connection, "things") == (rows, True)


def test_a_large_table_is_estimated_and_that_is_said(connection: Database) -> None:
    make(connection, 50_000)
    connection.execute("ANALYZE things")
    found = count_rows(connection, "things")
    assert not found.exact
    assert 45_000 < found.rows < 55_000


def test_a_table_that_has_grown_since_it_was_last_looked_at_is_estimated_by_its_size(
    connection: Database,
) -> None:
    make(connection, 50)
    connection.execute("ANALYZE things")
    connection.execute("INSERT INTO things SELECT generate_series(1, 50000)")
    found = count_rows(connection, "things")
    assert not found.exact
    assert found.rows > 100


def test_the_rows_of_all_partitions_are_counted(connection: Database) -> None:
    for number in range(30):
        append_json(connection, UUID(int=number), [{"type": "OrderShipped", "data": {}}])
    connection.execute("ANALYZE order_events")
    assert count_rows(connection, "order_events") == (30, True)


def test_a_lag_is_counted_up_to_a_limit(connection: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventstore.engine.standing.COUNTED", 2)
    for expected, or_more in ((1, False), (2, False), (2, True)):
        append_json(connection, UUID(int=1), [{"type": "OrderShipped", "data": {}}])
        lag = lag_of(connection, BEGINNING)
        assert (lag.events, lag.or_more) == (expected, or_more)
