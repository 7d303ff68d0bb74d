"""How two moments of an order differ is an answer of one moment, whatever is appended while it is made."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.engine.event_history import difference
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import ORDERS
from tests.engine.standing import before_call

Connection = psycopg.Connection[Any]


def paid(at: int) -> dict[str, Any]:
    return {"type": "OrderPaid", "data": {"amount": "3.00", "currency": "EUR"}, "created_at": at}


@pytest.mark.parametrize("statement", range(1, 12))  # more than there are
def test_the_events_between_two_moments_are_those_that_make_the_difference(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    order = uuid4()
    append_json(connection, order, [paid(1_000), paid(3_000)])
    with open_connection(database_url) as other:
        late = [paid(500), paid(2_000), paid(2_500)]
        before_call(monkeypatch, connection, "execute", statement, lambda: append_json(other, order, late))
        found = difference(
            connection, ORDERS, order, datetime.fromtimestamp(1.5, UTC), datetime.fromtimestamp(4, UTC)
        )
    assert found is not None
    amount = found.changes["paid_amount"]
    assert amount.after - amount.before == len(found.events) * Decimal("3.00")
