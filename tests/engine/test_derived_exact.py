"""Whatever happens to orders, a derived table is what a full computation from its source says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.engine.derived import Derived, refresh_derived
from eventstore.engine.projection import Projection
from eventstore.kernel.folding import Folding
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import CUSTOMERS, DAILY_ORDER_METRICS, ORDER_COUNTS, ORDERS
from eventstore.orders.events import OrderDelivered, OrderPaid
from eventstore.orders.order import RULES_1, OrderState
from tests.buckets import BUCKETS
from tests.shipped import promote_projection as promote
from tests.shipped import refresh, replay_bucket

Database = psycopg.Connection[Any]

#: What each table must say: computed from all of orders, and of the log up to its watermark.
CUSTOMERS_QUERY = """
    SELECT customer_id, currency, count(*), sum(paid_amount - refunded_amount), min(placed_at), max(placed_at)
      FROM orders WHERE customer_id IS NOT NULL AND currency IS NOT NULL AND placed_at IS NOT NULL
     GROUP BY 1, 2"""
METRICS_QUERY = """
    WITH facts AS (
        SELECT 'created' AS what, placed_at AS at, currency FROM orders
        UNION ALL SELECT 'paid', paid_at, currency FROM orders
        UNION ALL SELECT 'shipped', shipped_at, currency FROM orders
        UNION ALL SELECT 'delivered', delivered_at, currency FROM orders
        UNION ALL SELECT 'cancelled', cancelled_at, currency FROM orders
    ), payments AS (
        SELECT event_type, to_timestamp(created_at / 1000.0) AS at, event_data ->> 'currency' AS currency,
               (event_data ->> 'amount')::numeric AS amount
          FROM order_events e
         WHERE id <= (SELECT watermark FROM projections WHERE name = 'orders')
           AND event_type IN ('OrderPaid', 'OrderRefunded')
           AND NOT EXISTS (
               SELECT FROM quarantine q WHERE projection = 'orders' AND q.order_id = e.order_id
                  AND (e.created_at > failed_at OR e.created_at = failed_at AND e.version >= q.version))
    ), all_of_it AS (
        SELECT what, at, coalesce(currency, 'XXX') AS currency, 0 AS amount FROM facts WHERE at IS NOT NULL
        UNION ALL SELECT * FROM payments
    ), summed AS (
        SELECT (at AT TIME ZONE 'UTC')::date AS day, currency,
               count(*) FILTER (WHERE what = 'created') AS created,
               count(*) FILTER (WHERE what = 'paid') AS paid,
               count(*) FILTER (WHERE what = 'shipped') AS shipped,
               count(*) FILTER (WHERE what = 'delivered') AS delivered,
               count(*) FILTER (WHERE what = 'cancelled') AS cancelled,
               coalesce(sum(amount) FILTER (WHERE what = 'OrderPaid'), 0) AS revenue,
               coalesce(sum(amount) FILTER (WHERE what = 'OrderRefunded'), 0) AS refunds
          FROM all_of_it GROUP BY 1, 2)
    SELECT * FROM summed
     WHERE created + paid + shipped + delivered + cancelled > 0 OR revenue > 0 OR refunds > 0"""
COUNTS_QUERY = """
    SELECT 'status', status, count(*) FROM orders GROUP BY status
    UNION ALL SELECT 'odd', 'yes', count(*) FROM orders WHERE cardinality(anomalies) > 0 HAVING count(*) > 0
    UNION ALL SELECT 'anomaly', a, count(*) FROM orders, unnest(anomalies) a GROUP BY a
    UNION ALL SELECT 'unknown_event', u, count(*) FROM orders, unnest(unknown_events) u GROUP BY u"""
EXPECTED = [(CUSTOMERS, CUSTOMERS_QUERY), (DAILY_ORDER_METRICS, METRICS_QUERY), (ORDER_COUNTS, COUNTS_QUERY)]
TABLES = [derived for derived, _ in EXPECTED]


def _fails(*_: object) -> None:
    raise ZeroDivisionError


def _paid_twice(order: OrderState, event: OrderPaid, at: datetime) -> None:
    RULES_1.rules[OrderPaid](order, event, at)
    RULES_1.rules[OrderPaid](order, event, at)


BROKEN = replace(RULES_1, rules={**RULES_1.rules, OrderDelivered: _fails})
OTHER = replace(RULES_1, version="other", rules={**RULES_1.rules, OrderPaid: _paid_twice})


class World:
    """A database, its orders, and somebody who writes to it and does not commit."""

    def __init__(self, connection: Database, other: Database) -> None:
        self.connection, self.other = connection, other
        self.orders = [uuid4() for _ in range(3)]
        self.rules: tuple[Folding, ...] = (RULES_1, OTHER)

    @property
    def projection(self) -> Projection[Any]:
        return replace(ORDERS, foldings=self.rules)

    def replay_by(self, folding: Folding) -> None:
        refresh(self.connection, self.projection)
        for bucket in range(BUCKETS):
            replay_bucket(self.connection, bucket, self.projection, folding=folding)
        promote(self.connection, self.projection, by_hand=True, folding=folding)


class Append(NamedTuple):
    order: int
    events: list[dict[str, Any]]

    def do(self, world: World) -> None:
        append_json(world.connection, world.orders[self.order], self.events)


class Refresh(NamedTuple):
    def do(self, world: World) -> None:
        refresh(world.connection, world.projection)


class Derive(NamedTuple):
    derived: Derived
    rebuild: bool

    def do(self, world: World) -> None:
        refresh_derived(world.connection, self.derived, rebuild=self.rebuild)


class Release(NamedTuple):
    """New code: with an error in it, or without it."""

    is_broken: bool

    def do(self, world: World) -> None:
        world.rules = (BROKEN if self.is_broken else RULES_1, OTHER)


class Promote(NamedTuple):
    """To other rules, and back."""

    back: bool

    def do(self, world: World) -> None:
        world.replay_by(world.rules[0 if self.back else 1])


class ByHand(NamedTuple):
    """What an administrator may do to tables that are computed."""

    statement: str

    def do(self, world: World) -> None:
        if self.statement.startswith("TRUNCATE"):  # it would wait
            world.other.execute("ROLLBACK")
        world.connection.execute(self.statement)


class Others(NamedTuple):
    """Somebody else writes, or ends what was written before."""

    statement: str

    def do(self, world: World) -> None:
        if self.statement in {"COMMIT", "ROLLBACK"} or world.other.info.transaction_status:
            world.other.execute("COMMIT" if self.statement == "COMMIT" else "ROLLBACK")
        else:
            world.other.execute("BEGIN")
            world.other.execute(self.statement)


DAYS = [1_000, 2_000, 86_400_000, 86_400_001, 400_000_000]
TWO_CUSTOMERS = [UUID(int=1), UUID(int=2)]
AMOUNTS = st.sampled_from(["1.00", "2.50", "0.00"])
CURRENCIES = st.sampled_from(["EUR", "EUR", "USD"])


KINDS = [f"Order{what}" for what in ("Created", "Paid", "Paid", "Refunded", "AmountCorrected", "Shipped")]
KINDS += ["OrderDelivered", "OrderCancelled", "OrderFlown"]  # the last is unknown


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(KINDS))
    data: dict[str, Any] = {}
    if kind in {"OrderCreated", "OrderPaid", "OrderRefunded", "OrderAmountCorrected"}:
        data = {"amount": draw(AMOUNTS), "currency": draw(CURRENCIES)}
    if kind == "OrderCreated":
        data["customer_id"] = str(draw(st.sampled_from(TWO_CUSTOMERS)))
    return {"type": kind, "data": data, "created_at": draw(st.sampled_from(DAYS))}


NEW_ORDER = """
    INSERT INTO orders (order_id, customer_id, currency, status, paid_amount, refunded_amount, placed_at,
                        version, last_event_id, last_event_at, anomalies, unknown_events)
    VALUES (gen_random_uuid(), md5('x')::uuid, 'EUR', 'Paid', 3, 0, to_timestamp(5), 1, gen_random_uuid(),
            now(), '{odd,odder}', '{}')"""
BY_HAND = [
    "UPDATE orders SET currency = 'USD'",
    "UPDATE orders SET currency = NULL",
    f"UPDATE orders SET customer_id = '{TWO_CUSTOMERS[1]}'",
    "UPDATE orders SET placed_at = placed_at + '1 day', paid_at = NULL, anomalies = '{by_hand}'",
    "DELETE FROM orders WHERE status = 'Paid'",
    "TRUNCATE orders",
    "DELETE FROM customers",
    "UPDATE daily_order_metrics SET revenue = revenue + 1, created = 7",
    "TRUNCATE order_counts",
    "DELETE FROM orders_candidate",
    "DELETE FROM customers_changes",
    "TRUNCATE daily_order_metrics_changes, quarantined_payments_changes",
    "DELETE FROM quarantine",
    "UPDATE quarantine SET failed_at = failed_at + 1",
    "TRUNCATE quarantine",
    NEW_ORDER,
]
ACTIONS = st.one_of(
    st.builds(Append, st.integers(0, 2), st.lists(events(), min_size=1, max_size=4)),
    st.builds(Append, st.integers(0, 2), st.lists(events(), min_size=1, max_size=4)),
    st.just(Refresh()),
    st.just(Refresh()),
    st.builds(Derive, st.sampled_from(TABLES), st.sampled_from([False, False, False, True])),
    st.builds(Derive, st.sampled_from(TABLES), st.just(False)),
    st.builds(Release, st.booleans()),
    st.builds(Promote, st.booleans()),
    st.builds(ByHand, st.sampled_from(BY_HAND)),
    st.builds(Others, st.sampled_from([NEW_ORDER, "COMMIT", "ROLLBACK"])),
)


@contextmanager
def opened(url: str) -> Iterator[World]:
    with open_connection(url) as connection, open_connection(url) as other:
        yield World(connection, other)


def assert_exact(world: World) -> None:
    for derived, query in EXPECTED:
        refresh_derived(world.connection, derived)
        found = world.connection.execute(f"SELECT * FROM {derived.name}").fetchall()
        assert sorted(found) == sorted(world.connection.execute(query).fetchall()), derived.name


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(done=st.lists(ACTIONS, min_size=1, max_size=25))
def test_each_derived_table_is_what_a_full_computation_says_whatever_was_done(
    new_database: Callable[..., str], done: list[Any]
) -> None:
    with opened(new_database()) as world:
        for action in done:
            action.do(world)
        assert_exact(world)
        world.other.execute("COMMIT")
        # With a watermark that is still at the beginning all is computed each time.
        append_json(world.connection, world.orders[0], [{"type": "OrderFlown", "data": {}}])
        refresh(world.connection, world.projection)
        assert_exact(world)
        before = {derived.name: _rows(world, derived) for derived in TABLES}
        for derived in TABLES:
            assert refresh_derived(world.connection, derived).written == 0
            refresh_derived(world.connection, derived, rebuild=True)
        assert before == {derived.name: _rows(world, derived) for derived in TABLES}


def _rows(world: World, derived: Derived) -> list[tuple[Any, ...]]:
    return sorted(world.connection.execute(f"SELECT * FROM {derived.name}").fetchall())
