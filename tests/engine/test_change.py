"""A change of rules as one operation: all tables or, until then, everybody is told that two are live."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine import change as changing
from eventstore.engine.change import change_of, promote_change, ready_to_promote, same_rules
from eventstore.engine.interpretations import interpretations
from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.projection import Projection
from eventstore.engine.promote import set_promotion_policy
from eventstore.engine.refresh import refresh
from eventstore.engine.replay import replay_bucket
from eventstore.log.append import append_json
from eventstore.orders.domain import DOMAIN, HISTORY, ORDERS
from eventstore.orders.order import ORDER_RULES, OrderState, status_of
from tests.buckets import BUCKETS
from tests.engine.standing import before_call
from tests.killing import kill_when_it_waits_for_a_lock

Connection = psycopg.Connection[Any]


def returned_status(state: OrderState) -> str:
    return "Returned" if "cancelled_after_shipped" in state.anomalies else status_of(state)


NOW, RETURNS = ORDERS.fold_version, "returns"
FOLDINGS = (*ORDER_RULES, replace(ORDER_RULES[-1], version=RETURNS, status=returned_status))
STATES, PAST = replace(ORDERS, foldings=FOLDINGS), replace(HISTORY, foldings=FOLDINGS)
BOTH = (STATES, PAST)
LATER = replace(DOMAIN, states=STATES, history=PAST)

PROMOTION = """
import sys
from eventstore.engine.change import promote_change
from eventstore.log.connection import open_connection
from tests.engine.test_change import BOTH
promote_change(open_connection(sys.argv[1], application_name="victim"), BOTH)
"""


@pytest.fixture
def cancelled(connection: Connection) -> UUID:
    """An order that the two rules make different things of; everything follows the first."""
    order = uuid4()
    told = [
        {"type": "OrderShipped", "data": {}, "created_at": 1_000},
        {"type": "OrderCancelled", "data": {}, "created_at": 2_000},
    ]
    append_json(connection, order, told)
    for projection in DOMAIN.projections:
        refresh(connection, projection)
    refresh_made_from(connection, DOMAIN, DOMAIN.projections)
    return order


def replay(connection: Connection, *projections: Projection[Any], **options: Any) -> None:
    for projection in projections:
        for bucket in range(BUCKETS):
            replay_bucket(connection, bucket, projection, **options)


def seen(connection: Connection) -> tuple[str, str]:
    """What the live table says of the only order, and what its history says of now."""
    row = connection.execute(
        "SELECT (SELECT status FROM orders), (SELECT status FROM orders_as_of(now()))"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def test_those_that_share_their_rules_change_together_and_no_others() -> None:
    other = replace(ORDERS, name="parcels", foldings=ORDER_RULES[-1:])
    domain = replace(LATER, others=(other,))
    assert [each.name for each in same_rules(domain, PAST)] == ["orders", "order_history"]
    assert same_rules(domain, other) == (other,)
    assert [[each.name for each in one] for one in changing.changes(domain)] == [
        ["orders", "order_history"],
        ["parcels"],
    ]


@pytest.mark.usefixtures("cancelled")
def test_a_change_waits_until_all_of_its_replays_stand(connection: Connection) -> None:
    replay(connection, STATES)
    assert not ready_to_promote(connection, BOTH)
    assert promote_change(connection, BOTH) is None
    assert promote_change(connection, BOTH, by_hand=True) is None
    assert [table.projection.name for table in change_of(connection, BOTH).lacking] == ["order_history"]
    assert seen(connection) == ("Cancelled", "Cancelled")
    replay(connection, PAST)
    assert ready_to_promote(connection, BOTH)
    promoted = promote_change(connection, BOTH)
    assert promoted is not None
    assert {name: done.changed for name, done in promoted.items()} == {"orders": 1, "order_history": 1}
    assert seen(connection) == ("Returned", "Returned")
    assert promote_change(connection, BOTH, by_hand=True) is None


@pytest.mark.usefixtures("cancelled")
@pytest.mark.parametrize("which", [STATES, PAST], ids=lambda which: which.name)
def test_where_one_table_waits_for_a_person_all_do(connection: Connection, which: Projection[Any]) -> None:
    set_promotion_policy(connection, which, "manual")
    replay(connection, *BOTH)
    assert not ready_to_promote(connection, BOTH)
    assert promote_change(connection, BOTH) is None
    assert promote_change(connection, BOTH, by_hand=True) is not None


@pytest.mark.usefixtures("cancelled")
def test_where_one_replay_is_held_for_a_preview_all_wait(connection: Connection) -> None:
    replay(connection, STATES)
    replay(connection, PAST, for_preview=True)
    assert promote_change(connection, BOTH) is None
    assert promote_change(connection, BOTH, by_hand=True) is not None


@pytest.mark.usefixtures("cancelled")
def test_one_table_is_repaired_alone_where_no_rules_change(connection: Connection) -> None:
    connection.execute("UPDATE orders SET status = 'Wrong'")
    replay(connection, ORDERS)
    assert ready_to_promote(connection, (ORDERS, HISTORY))
    promoted = promote_change(connection, (ORDERS, HISTORY))
    assert promoted is not None
    assert {name: done.changed for name, done in promoted.items()} == {"orders": 1, "order_history": 0}


@pytest.mark.usefixtures("cancelled")
def test_a_promotion_that_was_killed_between_two_tables_is_said_and_gone_on_with(
    connection: Connection, database_url: str
) -> None:
    replay(connection, *BOTH)
    kill_when_it_waits_for_a_lock(PROMOTION, database_url, connection, "order_history")
    assert seen(connection) == ("Returned", "Cancelled")
    [said] = interpretations(connection, LATER)
    assert said.rules["orders"] == RETURNS
    assert said.rules["order_history"] == NOW
    assert ready_to_promote(connection, BOTH)
    promoted = promote_change(connection, BOTH)
    assert promoted is not None
    assert {name: done.changed for name, done in promoted.items()} == {"orders": 0, "order_history": 1}
    assert seen(connection) == ("Returned", "Returned")


def test_two_interpretations_are_live_until_what_is_made_from_the_tables_follows(
    connection: Connection, cancelled: UUID
) -> None:
    assert interpretations(connection, LATER) == []
    replay(connection, *BOTH)
    assert interpretations(connection, LATER) == []
    promote_change(connection, BOTH)
    [said] = interpretations(connection, LATER)
    assert said.rules == {
        "orders": RETURNS,
        "order_history": RETURNS,
        "order_snapshots": NOW,
        **dict.fromkeys((derived.name for derived in LATER.derived), NOW),
    }
    assert f"orders and order_history by rules {RETURNS}; order_snapshots" in said.in_words
    refresh_made_from(connection, LATER, BOTH)
    assert interpretations(connection, LATER) == []


@pytest.mark.usefixtures("cancelled")
def test_a_replay_that_begins_while_a_change_is_promoted_is_no_success(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    replay(connection, *BOTH)
    before_call(
        monkeypatch,
        changing,
        "promote",
        2,
        lambda: connection.execute("DELETE FROM replay_buckets WHERE bucket = 3"),
    )
    with pytest.raises(changing.InterruptedChangeError, match="of order_history got in between"):
        promote_change(connection, BOTH)
    assert seen(connection) == ("Returned", "Cancelled")
