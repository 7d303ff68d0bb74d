"""Named consumers: at least once, in order within an order, resumed after a crash."""

import signal
import subprocess
import sys
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import eventstore
from eventstore import Store
from eventstore.log.append import append_json
from tests.shipped import current, refresh, status

PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}

FOLLOWER = """
import sys, eventstore
for event in eventstore.connect(sys.argv[1]).subscribe("billing"):
    print(event.id, flush=True)
"""


def append_paid(connection: psycopg.Connection[Any], number: int) -> list[UUID]:
    return sorted(append_json(connection, uuid4(), [PAID])[0].id for _ in range(number))


def test_a_consumer_resumes_where_it_left_off(store: Store, connection: psycopg.Connection[Any]) -> None:
    first = append_paid(connection, 5)
    assert [event.id for event in store.subscribe("billing", follow=False)] == first
    second = append_paid(connection, 3)
    assert [event.id for event in store.subscribe("billing", follow=False)] == second
    assert [event.id for event in store.subscribe("other", follow=False)] == first + second


def test_an_event_is_done_with_when_the_next_one_is_asked_for(
    store: Store, connection: psycopg.Connection[Any]
) -> None:
    ids = append_paid(connection, 4)
    events = store.subscribe("billing")
    assert [next(events).id for _ in range(3)] == ids[:3]
    events.close()  # type: ignore[attr-defined]
    assert [event.id for event in store.subscribe("billing", follow=False)] == ids[2:]


def test_limit_counts_the_last_event_as_done(store: Store, connection: psycopg.Connection[Any]) -> None:
    ids = append_paid(connection, 5)
    assert [event.id for event in store.subscribe("billing", limit=2)] == ids[:2]
    assert [event.id for event in store.subscribe("billing", limit=3)] == ids[2:]


def test_a_consumer_killed_with_9_is_given_again_what_it_was_not_done_with(
    store: Store, connection: psycopg.Connection[Any], database_url: str
) -> None:
    ids = append_paid(connection, 50)
    with subprocess.Popen(
        [sys.executable, "-c", FOLLOWER, database_url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [UUID(process.stdout.readline().strip()) for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        seen += [UUID(line.strip()) for line in process.stdout if line.endswith("\n")]
    while True:
        try:
            again = [event.id for event in store.subscribe("billing", follow=False)]
            break
        except eventstore.ConsumerBusyError:  # until the server notices the death
            continue
    assert set(seen) | set(again) == set(ids)
    assert again == ids[len(ids) - len(again) :]


def test_a_name_is_followed_by_one_process_at_a_time(
    store: Store, connection: psycopg.Connection[Any]
) -> None:
    append_paid(connection, 2)
    first = store.subscribe("billing")
    next(first)
    with pytest.raises(eventstore.ConsumerBusyError, match="'billing' is followed by another process"):
        next(store.subscribe("billing"))
    first.close()  # type: ignore[attr-defined]
    next(store.subscribe("billing"))


def test_a_watermark_never_goes_back(connection: psycopg.Connection[Any]) -> None:
    older, newer = append_paid(connection, 2)
    connection.execute("SELECT publish_horizon()")
    for watermark in (newer, older):
        connection.execute("SELECT save_watermark('billing', %s)", (watermark,))
    assert connection.execute("SELECT watermark FROM consumers").fetchall() == [(newer,)]


def test_status_shows_the_lag_of_every_consumer(store: Store, connection: psycopg.Connection[Any]) -> None:
    append_paid(connection, 5)
    list(store.subscribe("billing", limit=2))
    list(store.subscribe("idle", limit=0))
    consumers = status(connection).consumers
    assert {name: consumer.lag_events for name, consumer in consumers.items()} == {"billing": 3, "idle": 5}
    assert all(consumer.lag_seconds > 0 for consumer in consumers.values())


def test_row_and_tail_in_one_statement_are_the_exact_current_state(
    connection: psycopg.Connection[Any],
) -> None:
    order = uuid4()
    append_json(connection, order, [PAID])
    refresh(connection)
    append_json(connection, order, [PAID, {"type": "OrderShipped", "data": {}}])
    tail = connection.execute("SELECT version, event_type FROM order_tail(%s)", (order,)).fetchall()
    assert tail == [(2, "OrderPaid"), (3, "OrderShipped")]
    state = current(connection, order)
    assert state is not None
    assert (state.status, state.version) == ("Shipped", 3)
