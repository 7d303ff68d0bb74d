"""`order_history` answers for every pair of moments as a fold of the events known and happened by then."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from psycopg.rows import dict_row

from eventstore.engine import refresh as refreshing
from eventstore.engine.history.overlaps import overlaps
from eventstore.engine.reading import FOLD_JSON
from eventstore.kernel.recorded import FoldEvent, UndecodedEvent
from eventstore.log.append import append_json
from eventstore.orders.domain import HISTORY
from eventstore.orders.order import OrderState, fold
from tests.buckets import BUCKETS
from tests.shipped import events_in, refresh_history, replay_bucket
from tests.shipped import promote_projection as promote

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
START = 1_900_000_000_000  #: where the clock of these tests begins
CREATED = {"customer_id": str(UUID(int=1)), "amount": "10.00", "currency": "EUR"}
PAYLOADS = {
    "OrderCreated": CREATED,
    "OrderPaid": {"amount": "2.50", "currency": "EUR"},
    "OrderShipped": {},
    "OrderCancelled": {},
    "OrderAmountCorrected": {"amount": "7.00", "currency": "EUR"},
    "Unheard": {"of": 1},
}


def moment(ms: float) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


class Clock:
    """Replaces the clock of the database by one that stands still until it is told to go on."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        connection.execute("SET synchronous_commit = off")
        connection.execute("CREATE TABLE test_clock AS SELECT %s::bigint AS ms", (START,))
        connection.execute(
            "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
            "RETURN (SELECT ms FROM test_clock)"
        )

    def advance(self, ms: int) -> None:
        self._connection.execute("UPDATE test_clock SET ms = ms + %s", (ms,))


@pytest.fixture
def clock(connection: psycopg.Connection[Any]) -> Clock:
    return Clock(connection)


def append(connection: psycopg.Connection[Any], order_id: UUID, *events: tuple[str, int]) -> None:
    """Append events given as (type, business time in ms) in one call."""
    batch = [{"type": kind, "data": PAYLOADS[kind], "created_at": at} for kind, at in events]
    append_json(connection, order_id, batch)


def replay(connection: psycopg.Connection[Any]) -> tuple[int, int, int]:
    """Replay what buckets do not stand yet and promote; the rows added, changed and gone."""
    standing = connection.execute("SELECT bucket FROM replay_buckets").fetchall()
    for bucket in range(BUCKETS):
        if (bucket,) not in standing:
            replay_bucket(connection, bucket, HISTORY)
    promoted = promote(connection, HISTORY)
    assert promoted is not None
    return promoted.added, promoted.changed, promoted.gone


def all_rows(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """The rows in the order of business time, oldest knowledge first; None where a period has no end."""
    columns = [
        f"nullif({column}, 'infinity') AS {column}" if column.endswith("_to") else column
        for column in HISTORY.table_columns
    ]
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT {', '.join(columns)} FROM order_history ORDER BY order_id, valid_from, recorded_from"
        ).fetchall()


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["order_id"], row["valid_from"], row["recorded_from"]


def bucket_of(connection: psycopg.Connection[Any], order_id: UUID) -> int:
    (bucket,) = connection.execute("SELECT order_bucket(%s)", (order_id,)).fetchone() or (0,)
    return int(bucket)


def log_of(connection: psycopg.Connection[Any], order_id: UUID) -> list[FoldEvent]:
    rows = connection.execute(f"SELECT {FOLD_JSON} FROM order_events WHERE order_id = %s", (order_id,))
    # Hashable, as Raw is not.
    return [
        replace(event, data=bytes(event.data)) if isinstance(event, UndecodedEvent) else event
        for event in events_in(rows)
    ]


def model(events: list[FoldEvent], at: datetime, known: datetime) -> OrderState | None:
    """What must be answered: the fold of what had happened by ``at`` and was recorded by ``known``."""
    told = [e for e in events if moment(e.created_at) <= at and moment(e.id.int >> 80) <= known]
    return fold_once(tuple(told)) if told else None


@cache
def fold_once(events: tuple[FoldEvent, ...]) -> OrderState:
    return fold(events[0].order_id, events)


def around(ms: set[int]) -> list[datetime]:
    """Each millisecond, just before it and within it."""
    return sorted({moment(m + offset) for m in ms for offset in (-0.001, 0, 0.5)})


def answers(
    connection: psycopg.Connection[Any], order_id: UUID, ats: list[datetime], knowns: list[datetime], ask: str
) -> dict[tuple[datetime, datetime], OrderState]:
    """The states that SQL gives for every pair of moments; pairs without an answer are absent."""
    rows = connection.execute(
        f"SELECT at, known, {', '.join('o.' + column for column in HISTORY.columns)}"
        f"  FROM unnest(%(ats)s::timestamptz[]) AS at, unnest(%(knowns)s::timestamptz[]) AS known, {ask} AS o"
        "  WHERE o.order_id = %(order_id)s",
        {"ats": ats, "knowns": knowns, "order_id": order_id},
    ).fetchall()
    found: dict[tuple[datetime, datetime], OrderState] = {}
    for at, known, *row in rows:
        values = (tuple(value) if isinstance(value, list) else value for value in row)
        fields: dict[str, Any] = dict(zip(HISTORY.columns, values, strict=True))
        found[at, known] = OrderState(**fields)
    assert len(found) == len(rows), "two answers for one pair of moments"
    return found


ASKED = ["orders_as_of(at, known)", "order_as_of(%(order_id)s, at, known)"]


def assert_exact(connection: psycopg.Connection[Any], order_id: UUID) -> None:
    events = log_of(connection, order_id)
    ats = around({event.created_at for event in events})
    knowns = around({event.id.int >> 80 for event in events})
    told = {(at, known): model(events, at, known) for at in ats for known in knowns}
    expected = {moments: state for moments, state in told.items() if state}
    for ask in ASKED:
        assert answers(connection, order_id, ats, knowns, ask) == expected


# Close together, so that they tie and neighbour; and in 1900, 1970 and 2100.
business_times = st.sampled_from([*range(START, START + 5), -2_208_988_800_000, 0, 4_102_444_800_000])
appended = st.lists(st.tuples(st.sampled_from(sorted(PAYLOADS)), business_times), min_size=1, max_size=3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1), appended),
        st.tuples(st.just("append"), st.integers(0, 1), appended),
        st.tuples(st.just("wait"), st.integers(1, 3), st.none()),
        st.tuples(st.just("refresh"), st.integers(1, 4), st.none()),
        st.tuples(st.just("replay bucket"), st.integers(0, 1), st.none()),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
@example(
    [
        ("append", 0, [("OrderPaid", START + 1)]),
        ("refresh", 1, None),
        ("append", 0, [("OrderShipped", START)]),  # late by the least
    ]
)
def test_every_pair_of_moments_is_answered_like_the_model_after_any_interleaving(
    connection: psycopg.Connection[Any],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    history: list[tuple[str, int, Any]],
) -> None:
    orders = [uuid4(), uuid4()]
    for action, number, new in history:
        if action == "append":
            append(connection, orders[number], *new)
        elif action == "wait":
            clock.advance(number)
        elif action == "refresh":
            monkeypatch.setattr(refreshing, "_CHUNK", number)
            refresh_history(connection)
        else:  # what comes later, the promotion has to catch up with
            replay_bucket(connection, bucket_of(connection, orders[number]), HISTORY)
    refresh_history(connection)
    for order in orders:
        assert_exact(connection, order)
    assert overlaps(connection) == []
    before = all_rows(connection)
    assert replay(connection) == (0, 0, 0)
    assert all_rows(connection) == before


def test_asked_for_infinity_it_tells_all_that_is_recorded_the_future_included(
    connection: psycopg.Connection[Any], clock: Clock
) -> None:
    order = uuid4()
    append(connection, order, ("OrderCreated", START), ("OrderPaid", 4_102_444_800_000))
    refresh_history(connection)
    assert model(log_of(connection, order), moment(START), moment(START)) is not None
    for at, status in [("infinity", "Paid"), ("2099-12-31 23:59:59Z", "Created")]:
        for ask in ["orders_as_of(%(at)s, 'infinity')", "order_as_of(%(order)s, %(at)s, 'infinity')"]:
            found = connection.execute(f"SELECT status FROM {ask}", {"at": at, "order": order})
            assert found.fetchall() == [(status,)]
    for moments in ["'-infinity'", "NULL", "'infinity', '-infinity'"]:
        assert connection.execute(f"SELECT status FROM orders_as_of({moments})").fetchall() == []


def test_what_one_millisecond_recorded_is_known_at_once_even_across_chunks(
    connection: psycopg.Connection[Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = uuid4()
    append(connection, order, ("OrderCreated", 10), ("OrderPaid", 20))
    append(connection, order, ("OrderShipped", 15))
    assert len({event.id.int >> 80 for event in log_of(connection, order)}) == 1
    monkeypatch.setattr(refreshing, "_CHUNK", 1)
    assert refresh_history(connection).events == 3
    assert [(row["status"], row["valid_from"], row["recorded_to"]) for row in all_rows(connection)] == [
        ("Created", moment(10), None),
        ("Shipped", moment(15), None),
        ("Shipped", moment(20), None),
    ]


def test_a_late_event_closes_what_it_supersedes_and_changes_nothing_else(
    connection: psycopg.Connection[Any], clock: Clock
) -> None:
    order, other = uuid4(), uuid4()
    for kind, at in [("OrderCreated", 10), ("OrderPaid", 30), ("OrderShipped", 40)]:
        append(connection, order, (kind, at))
        append(connection, other, (kind, at))
        clock.advance(5)
    refresh_history(connection)
    before = all_rows(connection)
    append(connection, order, ("OrderAmountCorrected", 20))
    (late,) = [event for event in log_of(connection, order) if event.version == 4]
    learned = moment(late.id.int >> 80)
    refreshed = refresh_history(connection)

    after = {key_of(row): row for row in all_rows(connection)}
    closed = []
    for row in before:
        now = after.pop(key_of(row))
        if now != row:
            closed.append((row["order_id"], row["valid_from"], row["valid_to"]))
            assert now == {**row, "recorded_to": learned}
            assert row["recorded_to"] is None
    assert sorted(closed) == [
        (order, moment(10), moment(30)),
        (order, moment(30), moment(40)),
        (order, moment(40), None),
    ]
    columns = ("valid_from", "valid_to", "amount", "version")
    assert [tuple(row[column] for column in columns) for row in after.values()] == [
        (moment(10), moment(20), Decimal("10.00"), 1),
        (moment(20), moment(30), Decimal("7.00"), 4),
        (moment(30), moment(40), Decimal("7.00"), 4),
        (moment(40), None, Decimal("7.00"), 4),
    ]
    assert {row["recorded_from"] for row in after.values()} == {learned}
    assert (refreshed.events, refreshed.rows, refreshed.refolded) == (1, 4, 1)


def test_overlapping_rows_are_found(connection: psycopg.Connection[Any], clock: Clock) -> None:
    order = uuid4()
    for kind, at in [("OrderCreated", 10), ("OrderPaid", 30), ("OrderShipped", 40)]:
        append(connection, order, (kind, at))
        clock.advance(5)
    refresh_history(connection)
    assert overlaps(connection) == []
    # Pretend that the row from 10 to 30, which stands since the second event, lasted until 31.
    connection.execute(
        "UPDATE order_history SET valid_to = %s WHERE valid_to = %s AND recorded_to = 'infinity'",
        (moment(31), moment(30)),
    )
    assert overlaps(connection) == [(order, moment(30), moment(START + 5))]
