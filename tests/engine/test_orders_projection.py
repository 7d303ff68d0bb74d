"""`orders` equals a naive fold of the log after any interleaving of appends, refreshes and replays."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from tests.buckets import BUCKETS
from tests.shipped import current, refresh, replay_bucket
from tests.shipped import promote_projection as promote

RANKS = ["OrderCreated", "OrderPaid", "OrderShipped", "OrderDelivered", "OrderCancelled"]
STATUS = ["Created", "Paid", "Shipped", "Delivered", "Cancelled"]


def naive(events: list[tuple[int, int, str, dict[str, Any]]]) -> dict[str, Any]:
    """What an order's row must hold, from its events as (created_at, version, type, data)."""
    told = sorted(events, key=lambda event: event[:2])
    types = [kind for _, _, kind, _ in told]
    creations = [data for _, _, kind, data in told if kind == "OrderCreated"]
    creation = types.index("OrderCreated") if creations else len(told)
    corrections = [(i, data) for i, (_, _, kind, data) in enumerate(told) if kind == "OrderAmountCorrected"]
    amount = Decimal(creations[0]["amount"]) if creations else None
    if corrections:
        amount = Decimal(corrections[-1][1]["amount"])
    ranks = [RANKS.index(kind) for kind in types if kind in RANKS]

    def total(kind: str) -> Decimal:
        return sum((Decimal(data["amount"]) for _, _, k, data in told if k == kind), Decimal(0))

    return {
        "customer_id": UUID(creations[0]["customer_id"]) if creations else None,
        "amount": amount,
        "status": STATUS[max(ranks)] if ranks else "Unknown",
        "paid_amount": total("OrderPaid"),
        "refunded_amount": total("OrderRefunded"),
        "placed_at": datetime.fromtimestamp(told[creation][0] / 1000, UTC) if creations else None,
        "version": len(events),
        "last_event_at": datetime.fromtimestamp(told[-1][0] / 1000, UTC),
    }


def row_of(connection: psycopg.Connection[Any], order_id: UUID, columns: list[str]) -> dict[str, Any] | None:
    row = connection.execute(
        f"SELECT {', '.join(columns)} FROM orders WHERE order_id = %s", (order_id,)
    ).fetchone()
    return dict(zip(columns, row, strict=True)) if row else None


amounts = st.integers(0, 9_999_999_999).map(lambda cents: f"{cents // 100}.{cents % 100:02d}")
customers = st.sampled_from([str(UUID(int=n)) for n in range(1, 4)])
payloads = {
    "OrderCreated": st.fixed_dictionaries(
        {"customer_id": customers, "amount": amounts, "currency": st.just("EUR")}
    ),
    **{
        kind: st.fixed_dictionaries({"amount": st.just("1.50"), "currency": st.just("EUR")})
        for kind in ("OrderPaid", "OrderRefunded")
    },
    "OrderAmountCorrected": st.fixed_dictionaries({"amount": amounts, "currency": st.just("EUR")}),
    **{kind: st.just({}) for kind in ("OrderShipped", "OrderDelivered", "OrderCancelled")},
}
events = st.sampled_from(sorted(payloads)).flatmap(
    lambda kind: st.tuples(st.just(kind), payloads[kind], st.integers(1_000, 1_004), st.integers(0, 30))
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.lists(events, min_size=1, max_size=3)),
        st.tuples(st.just("refresh"), st.just(0), st.just([])),
        st.tuples(st.just("replay buckets"), st.integers(0, 2), st.just([])),
        st.tuples(st.just("promote"), st.just(0), st.just([])),
    ),
    max_size=14,
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_orders_equals_a_naive_fold_after_any_interleaving(
    connection: psycopg.Connection[Any], history: list[tuple[str, int, list[Any]]]
) -> None:
    orders = [uuid4() for _ in range(3)]
    expected: dict[UUID, list[tuple[int, int, str, dict[str, Any]]]] = {order: [] for order in orders}
    seen: set[tuple[UUID, str]] = set()
    for action, which, new in history:
        if action == "append":
            order = orders[which]
            batch = [
                {"type": kind, "data": data, "created_at": at, "source": "/shop", "source_id": str(identity)}
                for kind, data, at, identity in new
            ]
            append_json(connection, order, batch)
            for kind, data, at, identity in new:  # the first event of an identity counts
                if (order, str(identity)) not in seen:
                    seen.add((order, str(identity)))
                    expected[order].append((at, len(expected[order]) + 1, kind, data))
        elif action == "refresh":
            refresh(connection)
        elif action == "replay buckets":
            for order in orders[: which + 1]:
                replay_bucket(connection, _bucket(connection, order))
        else:
            for bucket in range(BUCKETS):
                if bucket not in _standing(connection):
                    replay_bucket(connection, bucket)
            assert promote(connection) is not None
    models = {order: naive(told) if told else None for order, told in expected.items()}
    for order, model in models.items():
        state = current(connection, order)
        assert (state and {column: getattr(state, column) for column in model or {}}) == model
    refresh(connection)
    for order, model in models.items():
        assert row_of(connection, order, list(model or {"version": 0})) == model


def _bucket(connection: psycopg.Connection[Any], order_id: UUID) -> int:
    row = connection.execute("SELECT order_bucket(%s)", (order_id,)).fetchone()
    assert row is not None
    return int(row[0])


def _standing(connection: psycopg.Connection[Any]) -> set[int]:
    return {bucket for (bucket,) in connection.execute("SELECT bucket FROM replay_buckets")}


def paid(at: int = 1_000) -> dict[str, Any]:
    return {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}, "created_at": at}


def test_a_second_refresh_finds_nothing_to_do(connection: psycopg.Connection[Any]) -> None:
    append_json(connection, uuid4(), [paid()])
    assert refresh(connection).events == 1
    again = refresh(connection)
    assert (again.events, again.rows, again.lag.events) == (0, 0, 0)


def test_a_late_event_folds_only_its_own_order_again(connection: psycopg.Connection[Any]) -> None:
    orders = [uuid4() for _ in range(10)]
    for order in orders:
        append_json(connection, order, [paid(5_000)])
    refresh(connection)
    append_json(connection, orders[0], [paid(4_000)])
    append_json(connection, orders[1], [paid(6_000)])
    result = refresh(connection)
    assert (result.events, result.rows, result.refolded) == (2, 2, 1)


def test_an_open_append_is_not_folded_until_it_commits(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    slow, fast = uuid4(), uuid4()
    with open_connection(database_url) as writer:
        with writer.transaction():
            append_json(writer, slow, [paid()])
            append_json(connection, fast, [paid()])
            refresh(connection)
            assert row_of(connection, slow, ["version"]) is None
        refresh(connection)
    assert row_of(connection, slow, ["version"]) == {"version": 1}
    assert row_of(connection, fast, ["version"]) == {"version": 1}


def test_readers_see_all_of_the_old_rows_or_all_of_the_new_ones(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    for order in [uuid4() for _ in range(40)]:
        append_json(connection, order, [paid()])
    refresh(connection)
    connection.execute("UPDATE orders SET status = 'Wrong'")  # as if older rules had folded it
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket)
        assert connection.execute("SELECT DISTINCT status FROM orders").fetchall() == [("Wrong",)]
    with open_connection(database_url) as reader:
        with connection.transaction():
            promoted = promote(connection)
            assert reader.execute("SELECT status, count(*) FROM orders GROUP BY 1").fetchall() == [
                ("Wrong", 40)
            ]
        assert reader.execute("SELECT status, count(*) FROM orders GROUP BY 1").fetchall() == [("Paid", 40)]
    assert promoted is not None
    assert (promoted.added, promoted.changed, promoted.gone) == (0, 40, 0)


def test_events_appended_during_a_replay_are_not_missed(connection: psycopg.Connection[Any]) -> None:
    orders = [uuid4() for _ in range(2 * BUCKETS)]
    for bucket in range(BUCKETS):
        for order in orders[bucket * 2 : bucket * 2 + 2]:
            append_json(connection, order, [paid(), paid()])
        replay_bucket(connection, bucket)
    assert promote(connection) is not None
    refresh(connection)
    assert connection.execute("SELECT count(*), min(version), max(version) FROM orders").fetchone() == (
        2 * BUCKETS,
        2,
        2,
    )


def test_an_incomplete_candidate_or_one_of_other_rules_is_not_promoted(
    connection: psycopg.Connection[Any],
) -> None:
    order = uuid4()
    append_json(connection, order, [paid()])
    for bucket in range(BUCKETS - 1):
        replay_bucket(connection, bucket)
    assert promote(connection) is None
    replay_bucket(connection, BUCKETS - 1)
    connection.execute("UPDATE replay_buckets SET fold_version = 'older' WHERE bucket = 3")
    assert promote(connection) is None
    replay_bucket(connection, 3)
    assert promote(connection) is not None
    assert promote(connection) is None  # once


@pytest.mark.parametrize("bucket", [-1, BUCKETS])
def test_a_bucket_that_does_not_exist_is_refused(connection: psycopg.Connection[Any], bucket: int) -> None:
    with pytest.raises(ValueError, match=f"buckets are 0 to {BUCKETS - 1}$"):
        replay_bucket(connection, bucket)


def test_a_view_and_a_foreign_key_on_orders_survive_a_promotion(connection: psycopg.Connection[Any]) -> None:
    order = uuid4()
    append_json(connection, order, [paid()])
    refresh(connection)
    connection.execute("CREATE VIEW paid_orders AS SELECT order_id FROM orders WHERE status = 'Paid'")
    connection.execute("CREATE TABLE notes (order_id uuid REFERENCES orders, note text)")
    connection.execute("INSERT INTO notes VALUES (%s, 'call back')", (order,))
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket)
    assert promote(connection) is not None
    assert connection.execute("SELECT order_id FROM paid_orders").fetchall() == [(order,)]
