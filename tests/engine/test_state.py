"""state(at, known, version) equals a naive fold for all pairs of moments, whatever was built in between."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.engine import state as state_module
from eventstore.engine.snapshots import build as snapshots
from eventstore.kernel.recorded import from_ms
from eventstore.log.append import append_json
from tests.shipped import build_snapshots, refresh_stale, stale_days, state

DAY = 86_400_000
FIRST_DAY = date(1970, 1, 2)
RANKS = ["OrderCreated", "OrderPaid", "OrderShipped", "OrderDelivered", "OrderCancelled"]
STATUS = ["Created", "Paid", "Shipped", "Delivered", "Cancelled"]


class Told(NamedTuple):
    """An event as the model keeps it."""

    at: int
    version: int
    recorded: int
    type: str
    data: dict[str, Any]


def naive(
    events: list[Told], at: int | None, known: int | None, version: int | None
) -> dict[str, Any] | None:
    told = [
        event
        for event in sorted(events)
        if (at is None or event.at <= at)
        and (known is None or event.recorded <= known)
        and (version is None or event.version <= version)
    ]
    if not told:
        return None
    first = {event.type: event for event in reversed(told)}
    corrected = [event for event in told if event.type == "OrderAmountCorrected"]
    says_amount = corrected[-1] if corrected else first.get("OrderCreated")
    created = first.get("OrderCreated")
    ranks = [RANKS.index(event.type) for event in told if event.type in RANKS]
    return {
        "customer_id": UUID(created.data["customer_id"]) if created else None,
        "amount": Decimal(says_amount.data["amount"]) if says_amount else None,
        "status": STATUS[max(ranks)] if ranks else "Unknown",
        "paid_amount": sum((Decimal("1.50") for event in told if event.type == "OrderPaid"), Decimal(0)),
        "paid_at": from_ms(first["OrderPaid"].at) if "OrderPaid" in first else None,
        "placed_at": from_ms(created.at) if created else None,
        "version": max(event.version for event in told),
        "last_event_at": from_ms(told[-1].at),
    }


customers = st.sampled_from([str(UUID(int=n)) for n in range(1, 4)])
amounts = st.integers(0, 9_999_999_999).map(lambda cents: f"{cents // 100}.{cents % 100:02d}")
payloads = {
    "OrderCreated": st.fixed_dictionaries(
        {"customer_id": customers, "amount": amounts, "currency": st.just("EUR")}
    ),
    "OrderAmountCorrected": st.fixed_dictionaries({"amount": amounts, "currency": st.just("EUR")}),
    "OrderPaid": st.just({"amount": "1.50", "currency": "EUR"}),
    **{kind: st.just({}) for kind in ("OrderShipped", "OrderDelivered", "OrderCancelled")},
}
#: The first and the last milliseconds of a few days, and some in between: ties and edges are common.
business_times = st.builds(
    lambda day, ms: day * DAY + ms, st.integers(1, 4), st.sampled_from([0, 1, 1000, DAY - 2, DAY - 1])
)
events = st.sampled_from(sorted(payloads)).flatmap(
    lambda kind: st.tuples(st.just(kind), payloads[kind], business_times)
)
days = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)
#: Each time: events of an order, then something that must not change any answer.
rounds = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(events, min_size=1, max_size=4),
        st.one_of(
            st.tuples(st.just("build"), days),
            st.tuples(st.just("build"), st.just([0, 3])),
            st.tuples(st.just("refresh"), st.none()),
            st.tuples(st.just("clock"), st.integers(0, 3)),
        ),
    ),
    min_size=2,
    max_size=4,
)


@pytest.fixture
def clock(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """The database's clock stands still at 1,000,000 ms until a test moves it."""
    connection.execute("CREATE TABLE test_clock AS SELECT 1000000::bigint AS ms")
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
        "AS 'SELECT ms FROM test_clock'"
    )
    return connection


@pytest.fixture
def streams_of_7_are_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHECKPOINT_EVERY", 3)
    monkeypatch.setattr(state_module, "_FEW", 2)


@pytest.mark.usefixtures("streams_of_7_are_long")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds, st.lists(events, min_size=1, max_size=3))
def test_state_equals_a_naive_fold_for_all_pairs_of_moments(
    clock: psycopg.Connection[Any], history: list[tuple[int, list[Any], tuple[str, Any]]], unseen: list[Any]
) -> None:
    for table in ("order_snapshots", "order_checkpoints", "order_snapshot_days"):
        clock.execute(f"DELETE FROM {table}")
    orders = [uuid4(), uuid4()]
    told: dict[UUID, list[Told]] = {order: [] for order in orders}
    for number, new, (action, details) in [*history, (0, unseen, ("nothing", None))]:
        order = orders[number]
        batch = [{"type": kind, "data": data, "created_at": at} for kind, data, at in new]
        for (kind, data, at), recorded in zip(new, append_json(clock, order, batch), strict=True):
            told[order].append(Told(at, recorded.version, recorded.id.int >> 80, kind, data))
        if action == "build":
            first, last = details
            build_snapshots(clock, FIRST_DAY + timedelta(days=first), FIRST_DAY + timedelta(days=last))
        elif action == "refresh":
            refresh_stale(clock)
        elif action == "clock":
            clock.execute("UPDATE test_clock SET ms = ms + %s", (details,))
    _ask(clock, told, every=1)
    _compare_snapshots(clock, told)
    _ask(clock, told, every=7)


def _ask(connection: psycopg.Connection[Any], told: dict[UUID, list[Told]], every: int) -> None:
    for order, events in told.items():
        for at, known, version in islice(_questions(events), 0, None, every):
            found = state(
                connection,
                order,
                at=None if at is None else from_ms(at),
                known=None if known is None else from_ms(known),
                version=version,
            )
            expected = naive(events, at, known, version)
            answer = found and {column: getattr(found, column) for column in expected or {"version"}}
            assert answer == expected, (at, known, version)


def _compare_snapshots(connection: psycopg.Connection[Any], told: dict[UUID, list[Told]]) -> None:
    """The stale days are exactly those whose rows are not what they should be; a refresh puts them right."""
    built = [day for (day,) in connection.execute("SELECT day FROM order_snapshot_days ORDER BY day")]
    expected = {day: _expected_rows(day, told) for day in built}
    found = {day: _rows(connection, day, list(told)) for day in built}
    assert stale_days(connection) == [day for day in built if found[day] != expected[day]]
    refresh_stale(connection)
    assert stale_days(connection) == []
    assert {day: _rows(connection, day, list(told)) for day in built} == expected


def _expected_rows(day: date, told: dict[UUID, list[Told]]) -> dict[UUID, dict[str, Any] | None]:
    number = (day - date(1970, 1, 1)).days
    return {
        order: naive(events, (number + 1) * DAY - 1, None, None)
        for order, events in told.items()
        if any(event.at // DAY == number for event in events)
    }


def _rows(
    connection: psycopg.Connection[Any], day: date, orders: list[UUID]
) -> dict[UUID, dict[str, Any] | None]:
    columns = [
        "customer_id",
        "amount",
        "status",
        "paid_amount",
        "paid_at",
        "placed_at",
        "version",
        "last_event_at",
    ]
    rows = connection.execute(
        f"SELECT order_id, {', '.join(columns)} FROM order_snapshots WHERE day = %s AND order_id = ANY(%s)",
        (day, orders),
    )
    return {order: dict(zip(columns, values, strict=True)) for order, *values in rows}


def _questions(events: list[Told]) -> Iterator[tuple[int | None, int | None, int | None]]:
    """A moment between two events has the answer of the one before, so these stand for all of them."""
    moments = {event.at for event in events} | {day * DAY - 1 for day in range(1, 6)}
    known = {event.recorded for event in events} | {event.recorded - 1 for event in events[:1]}
    for at in [None, *sorted(moments)]:
        for recorded in [None, *sorted(known)]:
            yield at, recorded, None
        for event in events[::3]:
            yield at, None, event.version
