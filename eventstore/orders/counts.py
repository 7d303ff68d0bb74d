"""How many orders there are of each kind, at once and whatever their number."""

from collections import defaultdict

from eventstore.engine.derived import refresh_derived
from eventstore.log.connection import Connection
from eventstore.orders.domain import ORDER_COUNTS


def count_orders(connection: Connection) -> defaultdict[str, dict[str, int]]:
    """By facet and value: see the table `order_counts`, which is brought up to `orders` first."""
    refresh_derived(connection, ORDER_COUNTS)
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for facet, value, orders in connection.execute("SELECT facet, value, orders FROM order_counts"):
        counts[facet][value] = orders
    return counts
