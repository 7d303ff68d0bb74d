"""Keeping `order_history`: at bounded cost, through kills and races, by its role, and under changed rules."""

import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.engine.history.overlaps import overlaps
from eventstore.engine.quarantine import quarantined
from eventstore.engine.refresh import live
from eventstore.engine.standing import lock
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import HISTORY
from eventstore.orders.order import OrderState, status_of
from tests.buckets import BUCKETS
from tests.shipped import RULES, events_between, refresh, refresh_history, replay_bucket
from tests.shipped import promote_projection as promote

Connection = psycopg.Connection[Any]
PAID = {"amount": "1.00", "currency": "EUR"}

REFRESH = """
import sys
from eventstore.log.connection import open_connection
from eventstore.engine import refresh
from eventstore.orders.domain import HISTORY
refresh._CHUNK = 10
refresh.refresh(open_connection(sys.argv[1], application_name="victim"), HISTORY)
"""
PROMOTION = """
import sys
from eventstore.log.connection import open_connection
from eventstore.engine.promote import promote
from eventstore.orders.domain import HISTORY
promote(open_connection(sys.argv[1], application_name="victim"), HISTORY)
"""


def event(kind: str, at: int, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": data, "created_at": at}


def append_orders(connection: Connection, number: int) -> list[UUID]:
    """Orders of three events in three calls, the last of them late."""
    orders = [uuid4() for _ in range(number)]
    for order in orders:
        for told in (event("OrderPaid", 10, **PAID), event("OrderCancelled", 30), event("OrderShipped", 20)):
            append_json(connection, order, [told])
    return orders


def all_rows(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT to_jsonb(h) FROM order_history h ORDER BY order_id, valid_from, recorded_from"
    ).fetchall()


def statuses(connection: Connection) -> dict[str, int]:
    return dict(
        connection.execute(
            "SELECT status, count(*) FROM orders_as_of('infinity', 'infinity') GROUP BY 1"
        ).fetchall()
    )


def history_from_scratch(connection: Connection) -> list[tuple[Any, ...]]:
    """What the rows must be, by a replay into the candidate: read there, then thrown away."""
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, HISTORY)
    rows = connection.execute(
        "SELECT to_jsonb(h) FROM order_history_candidate h ORDER BY order_id, valid_from, recorded_from"
    ).fetchall()
    connection.execute("DELETE FROM replay_buckets")
    return rows


# Cost


def stream(connection: Connection, order: UUID, events: range) -> None:
    """Events of one order, each in a millisecond of its own, quicker than by appending them."""
    connection.execute("SET eventstore.restoring = 'on'")
    connection.execute(
        "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
        "SELECT uuidv7_at(clock_ms() - 60000 + n, 0), %s, n, 'OrderPaid', %s, n * 10 "
        "FROM generate_series(%s::int, %s::int) AS n",
        (order, Jsonb(PAID), events.start, events.stop - 1),
    )


def rows_read(connection: Connection) -> int:
    """How many rows of the log and of the history this session has read, lately."""
    (read,) = connection.execute(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables "
        "WHERE relname LIKE 'order_history%' OR relname LIKE 'order_events%'"
    ).fetchone() or (0,)
    return int(read)


def test_one_more_event_on_a_long_stream_costs_two_rows_and_reads_a_handful(connection: Connection) -> None:
    order = uuid4()
    stream(connection, order, range(1, 3_001))
    first = refresh_history(connection)
    assert (first.events, first.rows) == (3_000, 2 * 3_000 - 1)
    connection.execute("VACUUM ANALYZE order_events, order_history")
    append_json(connection, order, [event("OrderPaid", 999_999_999, **PAID)])
    with connection.transaction():
        target = live(HISTORY, standing := lock(connection, HISTORY.name))
        read_before = rows_read(connection)
        news = events_between(connection, standing.watermark, UUID(int=2**128 - 1), 100)
        folded = HISTORY.layout.fold_into(connection, target, news)
        read = rows_read(connection) - read_before
    assert (len(news), folded.rows, folded.refolded) == (1, 2, 0)
    assert 0 < read < 20


def test_news_of_many_orders_read_their_rows_only_though_the_table_has_no_statistics(
    connection: Connection,
) -> None:
    connection.execute("ALTER TABLE order_history SET (autovacuum_enabled = off)")
    orders = [uuid4() for _ in range(6_000)]
    with connection.transaction():
        connection.execute("SET LOCAL eventstore.restoring = 'on'")
        connection.execute(
            "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
            "SELECT uuidv7_at(clock_ms() - 60000 + n, 0), (%s::uuid[])[n], 1, 'OrderPaid', %s, 1000 "
            "FROM generate_series(1, %s) AS n",
            (orders, Jsonb(PAID), len(orders)),
        )
    refresh_history(connection)
    for order in orders[::15]:
        append_json(connection, order, [event("OrderPaid", 2_000, **PAID)])
    with connection.transaction():
        target = live(HISTORY, standing := lock(connection, HISTORY.name))
        news = events_between(connection, standing.watermark, UUID(int=2**128 - 1), 1000)
        read_before = rows_read(connection)
        folded = HISTORY.layout.fold_into(connection, target, news)
        read = rows_read(connection) - read_before
    assert (len(news), folded.rows) == (400, 800)
    assert read < 3_000, read


def test_each_event_of_a_long_stream_is_evolved_once(connection: Connection) -> None:
    evolved: list[int] = []

    class Counting:
        version = RULES.version
        knows = staticmethod(RULES.knows)

        def apply(self, state: OrderState, recorded: FoldEvent, at: datetime) -> None:
            evolved.append(recorded.version)
            RULES.apply(state, recorded, at)

    stream(connection, uuid4(), range(1, 3_001))
    counted = replace(HISTORY, foldings=(Counting(),))
    refresh(connection, counted)
    assert evolved == list(range(1, 3_001))
    evolved.clear()
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, counted)
    assert evolved == list(range(1, 3_001))


# Kills and races


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.02), stop=stop_after_delay(30))
def until(condition: Callable[[], bool]) -> bool:
    return condition()


def kill_when_it_waits_for_a_lock(script: str, url: str, connection: Connection, table: str) -> None:
    """Let ``script`` run until it wants to write to ``table``, and kill it there."""

    def sessions(state: str) -> bool:
        query = f"SELECT FROM pg_stat_activity WHERE application_name = 'victim' AND {state}"
        here = " AND datname = current_database()"
        return connection.execute(query + here).fetchone() is not None

    with open_connection(url) as blocker, blocker.transaction():
        blocker.execute(f"LOCK TABLE {table} IN SHARE MODE")
        with subprocess.Popen([sys.executable, "-c", script, url]) as victim:
            try:
                until(lambda: sessions("wait_event_type = 'Lock'"))
            finally:
                victim.send_signal(signal.SIGKILL)
    until(lambda: not sessions("true"))


def test_a_refresh_killed_before_it_commits_is_redone_not_doubled(
    connection: Connection, database_url: str
) -> None:
    append_orders(connection, 10)
    refresh_history(connection)
    before = all_rows(connection)
    append_orders(connection, 10)
    kill_when_it_waits_for_a_lock(REFRESH, database_url, connection, "order_history")
    assert all_rows(connection) == before
    assert refresh_history(connection).events == 30
    assert all_rows(connection) == history_from_scratch(connection)


def test_two_refreshes_at_once_learn_every_event_once(connection: Connection, database_url: str) -> None:
    append_orders(connection, 50)
    with (
        ThreadPoolExecutor() as pool,
        open_connection(database_url) as one,
        open_connection(database_url) as two,
    ):
        refreshed = list(pool.map(refresh_history, [one, two]))
    assert sum(done.events for done in refreshed) == 150
    assert all_rows(connection) == history_from_scratch(connection)
    assert overlaps(connection) == []


@pytest.mark.parametrize("table", ["order_history", "replay_buckets"])
def test_a_promotion_killed_in_the_middle_leaves_all_of_the_old_rows(
    connection: Connection, database_url: str, table: str
) -> None:
    append_orders(connection, 10)
    refresh_history(connection)
    connection.execute("UPDATE order_history SET status = 'Wrong'")
    before = all_rows(connection)
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, HISTORY)
    kill_when_it_waits_for_a_lock(PROMOTION, database_url, connection, table)
    assert all_rows(connection) == before
    assert promote(connection, HISTORY) is not None
    assert statuses(connection) == {"Cancelled": 10}


# Replay


def rows_of(connection: Connection, order: UUID) -> int:
    (rows,) = connection.execute(
        "SELECT count(*) FROM order_history WHERE order_id = %s", (order,)
    ).fetchone() or (0,)
    return int(rows)


def test_a_promotion_applies_the_difference_and_says_how_many_rows_it_made(connection: Connection) -> None:
    wrong, missing, moved, _ = append_orders(connection, 4)
    refresh_history(connection)
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, HISTORY)
    late = append_orders(connection, 2)
    append_json(connection, wrong, [event("OrderRefunded", 15, **PAID)])
    refresh_history(connection)  # past the buckets: the candidate has to be caught up
    right = all_rows(connection)
    rows = {order: rows_of(connection, order) for order in (wrong, missing, moved, *late)}
    connection.execute("UPDATE order_history SET status = 'Wrong' WHERE order_id = %s", (wrong,))
    connection.execute("DELETE FROM order_history WHERE order_id = %s", (missing,))
    connection.execute("UPDATE order_history SET order_id = %s WHERE order_id = %s", (uuid4(), moved))
    promoted = promote(connection, HISTORY)
    assert promoted is not None
    assert (promoted.added, promoted.changed, promoted.gone) == (
        rows[missing] + rows[moved],
        rows[wrong],
        rows[moved],
    )
    assert promoted.caught_up == 7
    assert all_rows(connection) == right


def test_new_rules_tell_history_anew_at_the_promotion_and_not_before(connection: Connection) -> None:
    def returned(state: OrderState) -> str:
        return "Returned" if state.cancelled_at and state.shipped_at else status_of(state)

    newer = replace(HISTORY, foldings=(RULES, replace(RULES, version="newer", status=returned)))
    append_orders(connection, 3)
    refresh_history(connection)
    append_orders(connection, 2)
    refresh(connection, newer)
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, newer)
    append_orders(connection, 1)
    assert statuses(connection) == {"Cancelled": 5}
    assert promote(connection, newer) is not None
    refresh(connection, newer)
    assert statuses(connection) == {"Returned": 6}
    assert overlaps(connection) == []


def test_a_new_event_under_edited_rules_tells_its_order_anew_and_marks_its_rows(
    connection: Connection,
) -> None:
    edited = replace(HISTORY, foldings=(replace(RULES, version="newer"),))
    one, other = append_orders(connection, 2)
    refresh_history(connection)
    append_json(connection, one, [event("OrderRefunded", 40, **PAID)])
    refresh(connection, edited)
    marks = connection.execute("SELECT DISTINCT order_id, fold_version FROM order_history").fetchall()
    assert sorted(marks) == sorted([(one, "newer"), (other, None)])
    append_json(connection, one, [event("OrderRefunded", 50, **PAID)])
    assert refresh(connection, edited).refolded == 0
    connection.execute("UPDATE order_history SET fold_version = NULL")
    assert all_rows(connection) == history_from_scratch(connection)


def test_an_order_whose_event_cannot_be_folded_is_set_aside_until_it_can(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = append_orders(connection, 2)
    refresh_history(connection)
    before = rows_of(connection, orders[0])
    append_json(connection, orders[0], [event("OrderPaid", 50)])  # without an amount
    more = append_orders(connection, 1)
    refresh_history(connection)
    append_json(connection, orders[0], [event("OrderShipped", 60)])
    refresh_history(connection)
    assert refresh_history(connection).rows == 0
    assert quarantined(connection, "order_history") == {orders[0]}
    assert rows_of(connection, orders[0]) == before
    assert rows_of(connection, more[0]) > 0
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, HISTORY)
    promoted = promote(connection, HISTORY)
    assert promoted is not None
    assert (promoted.added, promoted.changed, promoted.gone) == (0, 0, 0)
    assert rows_of(connection, orders[0]) == before

    class Lenient:
        version = RULES.version
        knows = staticmethod(RULES.knows)

        def apply(self, state: OrderState, recorded: FoldEvent, at: datetime) -> None:
            paid = HISTORY.events.fold_event(
                event_type=recorded.event_type,
                id=recorded.id,
                order_id=recorded.order_id,
                version=recorded.version,
                created_at=recorded.created_at,
                payload_version=None,
                data=msgspec.Raw(msgspec.json.encode(PAID)),
            )
            RULES.apply(state, paid, at)

    refresh(connection, replace(HISTORY, foldings=(Lenient(),)))
    assert quarantined(connection, "order_history") == set()
    found = connection.execute(
        "SELECT version, paid_amount FROM order_as_of(%s, 'infinity', 'infinity')", (orders[0],)
    ).fetchall()
    assert found == [(5, 2)]


# Roles


def test_the_projector_can_close_rows_but_not_change_them_and_the_reader_can_only_ask(
    connection: Connection,
) -> None:
    orders = append_orders(connection, 3)
    connection.execute("SET ROLE eventstore_projector")
    refresh_history(connection)
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, HISTORY)
    assert promote(connection, HISTORY) is not None
    for change in ("status = 'Paid'", "valid_to = 'infinity'", "recorded_from = now()", "version = 1"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"UPDATE order_history SET {change}")
    connection.execute("SET ROLE eventstore_reader")
    assert statuses(connection) == {"Cancelled": 3}
    assert connection.execute("SELECT status FROM order_as_of(%s)", (orders[0],)).fetchall() == [
        ("Cancelled",)
    ]
    for command in ("DELETE FROM order_history", "UPDATE order_history SET recorded_to = now()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(command)
