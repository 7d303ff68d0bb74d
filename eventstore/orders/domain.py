"""The domain of orders, put together: what is named here is refreshed, replayed and shown."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from eventstore.engine.derived import Check, Derived
from eventstore.engine.domain import Domain
from eventstore.engine.history.row_per_span import ROW_PER_SPAN
from eventstore.engine.projection import Projection
from eventstore.engine.row_per_order import ROW_PER_ORDER
from eventstore.ingestion.formats.cloudevents import CLOUD_EVENTS
from eventstore.orders.events import EVENTS
from eventstore.orders.order import ORDER_RULES, OrderState

_STATEMENTS = Path(__file__).parent / "derived"
_FUNCTIONS = Path(__file__).parent / "functions"


def _new_order(order_id: UUID) -> OrderState:
    return OrderState(order_id=order_id)


ORDERS = Projection(
    name="orders",
    description="The current state of each order: what its events amount to, sorted by when they happened.",
    initial=_new_order,
    foldings=ORDER_RULES,
    events=EVENTS,
    layout=ROW_PER_ORDER,
)
HISTORY = replace(
    ORDERS,
    name="order_history",
    description="Every state that an order was in: when it was so, and from when to when we knew it so.",
    layout=ROW_PER_SPAN,
)
CUSTOMERS = Derived(
    name="customers",
    description="Each customer's orders, lifetime value, first and last order; `customers_as_of(day)` for "
    "other days.",
    source=ORDERS,
    key=("customer_id", "currency"),
    statement=_STATEMENTS / "customers.sql",
)
DAILY_ORDER_METRICS = Derived(
    name="daily_order_metrics",
    description="By business day and currency: orders created, paid, shipped, delivered, cancelled; revenue "
    "and refunds. Late events correct past days.",
    source=ORDERS,
    key=("day", "currency"),
    also=_STATEMENTS / "payments.sql",
    queues=("quarantined_payments",),
    sums=("daily_payments",),
    checks=(
        Check(
            name="counts",
            description="Fails where fewer than none are counted: materialize it with `rebuild`.",
            query="SELECT * FROM daily_order_metrics "
            "WHERE least(created, paid, shipped, delivered, cancelled, revenue, refunds) < 0",
        ),
    ),
)
ORDER_COUNTS = Derived(
    name="order_counts",
    description="How many orders are in each status, and how many have which anomaly or unknown event.",
    source=ORDERS,
    key=("facet", "value"),
)

DOMAIN = Domain(
    events=EVENTS,
    formats=(CLOUD_EVENTS,),
    functions=_FUNCTIONS,
    states=ORDERS,
    history=HISTORY,
    derived=(CUSTOMERS, DAILY_ORDER_METRICS, ORDER_COUNTS),
)
