"""What the log says while it is ahead of the server's clock."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine.standing import lag_of
from eventstore.log.append import append_json
from eventstore.log.clock import clock
from eventstore.log.feed import BEGINNING, has_events_after, publish_horizon
from tests.shipped import status

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}


def set_clock(connection: Connection, seconds: float) -> None:
    """Shift the clock of this database by so much."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN "
        f"floor(date_part('epoch', clock_timestamp()) * 1000)::bigint + {round(seconds * 1000)}::bigint"
    )


def insert(connection: Connection, event_id: str) -> UUID:
    """An event with an id that nobody minted, as an accident of the owner leaves it."""
    order = uuid4()
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
            "VALUES (%s, %s, 1, 'OrderShipped', '{}', 0)",
            (event_id, order),
        )
    return order


def test_nothing_is_ahead_in_a_store_that_is_in_order(connection: Connection) -> None:
    assert clock(connection).warnings == []
    for _ in range(5):
        append_json(connection, uuid4(), [PAID] * 20)
        publish_horizon(connection)
    assert clock(connection).warnings == []
    assert status(connection).warnings == []


def test_after_a_jump_that_was_put_right_it_says_by_how_much_and_until_when(connection: Connection) -> None:
    set_clock(connection, 2 * 86_400)
    append_json(connection, uuid4(), [PAID])
    publish_horizon(connection)
    set_clock(connection, 0)
    now = clock(connection)
    assert now.horizon_ahead_seconds == pytest.approx(2 * 86_400, abs=60)
    assert now.newest_event_ahead_seconds == pytest.approx(2 * 86_400, abs=60)
    [warning] = now.warnings
    assert "2.0 days ahead of the database server's clock" in warning
    assert "wait: nothing is lost" in warning
    assert now.waiting_events == []
    # What is appended meanwhile lies ahead of the clock too, and is no secret.
    append_json(connection, uuid4(), [PAID])
    assert clock(connection).waiting_events == []
    assert lag_of(connection, BEGINNING).events == 2


@pytest.mark.parametrize(
    "odd", ["ffffffff-ffff-7fff-bfff-ffffffffffff", "d3c1a5b0-0000-4000-8000-000000000001"]
)
def test_events_with_odd_ids_are_named_with_their_orders_and_count_nowhere(
    connection: Connection, odd: str
) -> None:
    (event,) = append_json(connection, uuid4(), [PAID])
    order = insert(connection, odd)
    now = clock(connection)
    assert [(event.id, event.order_id, event.version) for event in now.waiting_events] == [
        (UUID(odd), order, 1)
    ]
    assert int(now.waiting_events[0].recorded_at.split("-")[0]) > 2100
    [warning] = now.warnings
    assert str(order) in warning
    assert now.ahead_seconds == 0
    assert has_events_after(connection, BEGINNING)
    assert not has_events_after(connection, event.id)
    assert (lag_of(connection, BEGINNING).events, lag_of(connection, event.id).events) == (1, 0)
    found = status(connection)
    assert found.warnings == [warning]


def test_at_most_ten_of_them_are_listed(connection: Connection) -> None:
    for number in range(12):
        insert(connection, f"f0000000-0000-7000-8000-{number:012d}")
    now = clock(connection)
    assert [event.id.int & 0xFFFF for event in now.waiting_events] == list(range(10))
    assert "10 or more events" in now.warnings[0]


def test_status_can_show_a_horizon_after_the_year_9999(connection: Connection) -> None:
    connection.execute("SELECT setval('feed_horizon', 271581000000000)")
    found = status(connection)
    assert found.horizon.year == 9999
    assert "after the year 9999" in found.warnings[0]
