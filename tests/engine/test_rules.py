"""Change the rules: preview, promote, roll back; upcast old payloads; learn new types; survive poison."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine.candidate import candidate
from eventstore.engine.preview_report import as_markdown
from eventstore.engine.projection import Projection
from eventstore.engine.quarantine import quarantined
from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event as EventType
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import ORDERS
from eventstore.orders.events import EVENTS, OrderPaid, OrderShipped
from eventstore.orders.order import OrderState, status_of
from tests.buckets import BUCKETS
from tests.engine.standing import before_call
from tests.shipped import RULES, current, preview, read, refresh, replay_bucket, set_promotion_policy
from tests.shipped import promote_projection as promote

Connection = psycopg.Connection[Any]


def returned_status(state: OrderState) -> str:
    """The new rule: an order cancelled after it was shipped counts as returned."""
    if state.cancelled_at is not None and state.shipped_at is not None:
        return "Returned"
    return status_of(state)


NEWER = replace(RULES, version="newer", status=returned_status)
BOTH = replace(ORDERS, foldings=(RULES, NEWER))  # the old rules are still in the code
ONLY_NEW = replace(ORDERS, foldings=(NEWER,))  # they were edited in place


def _paid_twice(state: OrderState, event: OrderPaid, _at: datetime) -> None:
    state.paid_amount += 2 * event.amount


TWICE = replace(
    ORDERS,
    foldings=(RULES, replace(RULES, version="newer", rules=dict(RULES.rules) | {OrderPaid: _paid_twice})),
)


def event(kind: str, at: int = 1_000, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": data, "created_at": at}


SHIPPED, CANCELLED = event("OrderShipped"), event("OrderCancelled", at=2_000)
PAID = event("OrderPaid", amount="3.00", currency="EUR")


def append_orders(connection: Connection, number: int, *told: dict[str, Any]) -> list[UUID]:
    orders = [uuid4() for _ in range(number)]
    for order in orders:
        append_json(connection, order, list(told))
    return orders


def replay(connection: Connection, projection: Projection[Any], **options: Any) -> None:
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, projection, **options)


def statuses(connection: Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY 1").fetchall())


def test_the_preview_lists_exactly_the_orders_that_the_new_rule_changes(connection: Connection) -> None:
    append_orders(connection, 5, PAID)
    returned = append_orders(connection, 30, PAID, SHIPPED, CANCELLED)
    refresh(connection)
    replay(connection, BOTH, for_preview=True)
    found = preview(connection, BOTH)
    assert found is not None
    assert (found.added, found.gone, found.changed, found.columns) == (0, 0, 30, {"status": 30})
    assert len(found.sample) == 25
    assert {pair.order_id for pair in found.sample} <= set(returned)
    assert all(
        (pair.before, pair.after) == ({"status": "Cancelled"}, {"status": "Returned"})
        for pair in found.sample
    )
    assert (found.live_version, found.candidate_version) == (RULES.version, "newer")
    report = as_markdown(found)
    assert "| status | 30 |" in report
    assert f"| {found.sample[0].order_id} | status: Cancelled | status: Returned |" in report
    assert statuses(connection) == {"Paid": 5, "Cancelled": 30}
    promoted = promote(connection, BOTH, by_hand=True)
    assert promoted is not None
    assert promoted.changed == 30
    assert statuses(connection) == {"Paid": 5, "Returned": 30}


def test_a_replay_without_a_change_of_rules_previews_no_differences(connection: Connection) -> None:
    append_orders(connection, 20, PAID, SHIPPED, CANCELLED)
    replay(connection, ORDERS, for_preview=True)
    append_orders(connection, 3, PAID)  # the candidate is caught up with what came since
    found = preview(connection)
    assert found is not None
    assert (found.orders, found.differences, found.columns, found.sample) == (23, 0, {}, [])
    assert all(total.before == total.after for total in found.totals)


def test_the_preview_sums_money_per_currency(connection: Connection) -> None:
    append_orders(connection, 2, PAID)
    append_orders(
        connection,
        1,
        event("OrderAmountCorrected", amount="7.00", currency="USD"),
        event("OrderPaid", **PAID["data"]),
    )
    refresh(connection)
    connection.execute("UPDATE orders SET paid_amount = 0 WHERE currency IS NULL")
    replay(connection, ORDERS)
    found = preview(connection)
    assert found is not None
    totals = {(total.column, total.currency): (total.before, total.after) for total in found.totals}
    assert totals["paid_amount", None] == (Decimal(0), Decimal(6))
    assert totals["amount", "USD"] == (Decimal(7), Decimal(7))


def test_new_events_follow_the_rules_of_the_table_until_the_promotion(connection: Connection) -> None:
    (order,) = append_orders(connection, 1, SHIPPED)
    refresh(connection)
    append_json(connection, order, [CANCELLED])
    append_orders(connection, 1, SHIPPED, CANCELLED)
    refresh(connection, BOTH)
    assert statuses(connection) == {"Cancelled": 2}
    state = current(connection, order, BOTH)
    assert state is not None
    assert state.status == "Cancelled"
    replay(connection, BOTH)
    assert promote(connection, BOTH) is not None
    append_orders(connection, 1, SHIPPED, CANCELLED)
    refresh(connection, BOTH)
    assert statuses(connection) == {"Returned": 3}
    assert connection.execute("SELECT DISTINCT fold_version FROM orders").fetchall() == [(None,)]


@pytest.mark.parametrize("statement", [1, 2, 3])
def test_the_current_state_follows_one_rule_whatever_is_promoted_between_two_statements(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch, statement: int
) -> None:
    (order,) = append_orders(connection, 1, PAID)
    refresh(connection)
    replay(connection, TWICE)
    append_json(connection, order, [PAID])
    with open_connection(database_url) as other:
        before_call(
            monkeypatch, connection, "execute", statement, lambda: promote(other, TWICE, by_hand=True)
        )
        state = current(connection, order, TWICE)
    assert state is not None
    assert (state.version, state.paid_amount) in [(2, Decimal("6.00")), (2, Decimal("12.00"))]


def test_where_the_old_rules_are_gone_no_row_mixes_two_and_each_says_whose_it_is(
    connection: Connection,
) -> None:
    touched, untouched = append_orders(connection, 2, SHIPPED, CANCELLED)
    refresh(connection)
    append_json(connection, touched, [event("OrderDelivered", at=3_000)])
    refresh(connection, ONLY_NEW)
    rows = connection.execute("SELECT order_id, status, fold_version FROM orders").fetchall()
    assert set(rows) == {(touched, "Returned", "newer"), (untouched, "Cancelled", None)}
    append_json(connection, touched, [event("OrderDelivered", at=4_000)])
    assert refresh(connection, ONLY_NEW).refolded == 0  # it is the new rules' row already
    replay(connection, ONLY_NEW)
    assert promote(connection, ONLY_NEW) is not None
    rows = connection.execute("SELECT order_id, status, fold_version FROM orders").fetchall()
    assert set(rows) == {(touched, "Returned", None), (untouched, "Returned", None)}


def test_rolling_back_replays_the_rules_before(connection: Connection) -> None:
    append_orders(connection, 4, SHIPPED, CANCELLED)
    replay(connection, BOTH)
    promote(connection, BOTH)
    assert statuses(connection) == {"Returned": 4}
    replay(connection, BOTH, folding=RULES, for_preview=True)
    assert promote(connection, BOTH, by_hand=True) is None  # a candidate of older rules
    assert promote(connection, BOTH, by_hand=True, folding=RULES) is not None
    append_orders(connection, 1, SHIPPED, CANCELLED)
    refresh(connection, BOTH)
    assert statuses(connection) == {"Cancelled": 5}


def test_under_the_manual_policy_only_a_person_promotes(connection: Connection) -> None:
    append_orders(connection, 1, SHIPPED, CANCELLED)
    set_promotion_policy(connection, "manual")
    replay(connection, ONLY_NEW)
    assert promote(connection, ONLY_NEW) is None
    assert candidate(connection, ONLY_NEW).complete
    assert promote(connection, ONLY_NEW, by_hand=True) is not None
    with pytest.raises(ValueError, match="give auto or manual"):
        set_promotion_policy(connection, "sometimes")


def test_a_replay_for_a_preview_is_not_promoted_by_a_refresh(connection: Connection) -> None:
    append_orders(connection, 1, SHIPPED)
    replay(connection, ORDERS, for_preview=True)
    assert promote(connection) is None
    assert promote(connection, by_hand=True) is not None


def test_payloads_of_version_1_are_read_as_decimal_strings(connection: Connection) -> None:
    order = uuid4()
    cents = {
        "type": "OrderPaid",
        "data": {"amount": 1250, "currency": "EUR"},
        "metadata": {"schema_version": 1},
    }
    append_json(connection, order, [cents, PAID])
    refresh(connection)
    assert connection.execute("SELECT paid_amount FROM orders").fetchone() == (Decimal("15.50"),)
    assert read(connection)[0].event.amount == Decimal("12.50")  # type: ignore[union-attr]
    stored = connection.execute(
        "SELECT event_data ->> 'amount' FROM order_events WHERE version = 1"
    ).fetchone()
    assert stored == ("1250",)


@pytest.mark.parametrize(
    ("cents", "amount"), [(0, "0.00"), (7, "0.07"), (-105, "-1.05"), (9999999999, "99999999.99")]
)
def test_cents_become_decimal_strings(cents: int, amount: str) -> None:
    assert EVENTS.upcast("OrderPaid", {"amount": cents}, 1) == {"amount": amount}


def test_a_payload_of_a_newer_version_stops_nothing_and_is_listed(connection: Connection) -> None:
    newer = {**PAID, "metadata": {"schema_version": 3}}
    append_orders(connection, 1, newer, SHIPPED)
    refresh(connection)
    assert connection.execute("SELECT status, version, unknown_events FROM orders").fetchone() == (
        "Shipped",
        2,
        ["OrderPaid v3"],
    )
    assert len(read(connection)) == 2
    with pytest.raises(ValueError, match="payload of version 3, this code knows versions 1 to 2"):
        EVENTS.upcast("OrderPaid", {}, 3)


class OrderReturned(EventType, frozen=True, kw_only=True):
    """Test type: what a newer release knows."""


def _returned(order: OrderState, _event: OrderReturned, at: datetime) -> None:
    order.refunded_at = at


def test_orders_with_an_event_of_an_unknown_type_are_folded_again_once_it_is_known(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (order,) = append_orders(connection, 1, PAID, event("OrderReturned", at=1_500), SHIPPED)
    append_orders(connection, 5, PAID)
    refresh(connection)
    row = "SELECT status, version, unknown_events, refunded_at IS NULL FROM orders WHERE order_id = %s"
    assert connection.execute(row, (order,)).fetchone() == ("Shipped", 3, ["OrderReturned"], True)
    events = Codec([*EVENTS.types.values(), OrderReturned])
    rules = replace(RULES, rules={**RULES.rules, OrderReturned: _returned}, events=events)
    learned = replace(ORDERS, foldings=(rules,), events=events)
    assert refresh(connection, learned).refolded == 1
    assert connection.execute(row, (order,)).fetchone() == ("Shipped", 3, [], False)
    assert refresh(connection, learned).refolded == 0


def _fails(_state: OrderState, _event: OrderShipped, _at: datetime) -> None:
    raise ZeroDivisionError("poison")


POISONED = replace(ORDERS, foldings=(replace(RULES, rules=dict(RULES.rules) | {OrderShipped: _fails}),))


def test_a_poison_event_stops_only_its_order_and_a_fix_makes_it_whole(connection: Connection) -> None:
    (poisoned,) = append_orders(connection, 1, PAID)
    refresh(connection)
    append_json(connection, poisoned, [SHIPPED])
    healthy = append_orders(connection, 3, PAID)
    result = refresh(connection, POISONED)
    assert result.events == 4
    assert quarantined(connection, "orders") == {poisoned}
    assert statuses(connection) == {"Paid": 4}
    error = connection.execute("SELECT error FROM quarantine").fetchone()
    assert error == ("version 2, OrderShipped: ZeroDivisionError: poison",)
    append_json(connection, poisoned, [CANCELLED])
    append_json(connection, healthy[0], [CANCELLED])
    refresh(connection, POISONED)
    assert statuses(connection) == {"Paid": 3, "Cancelled": 1}
    refresh(connection)
    assert quarantined(connection, "orders") == set()
    assert connection.execute(
        "SELECT status, version FROM orders WHERE order_id = %s", (poisoned,)
    ).fetchone() == (
        "Cancelled",
        3,
    )


def test_after_a_replay_poisoned_orders_show_what_comes_before_the_poison(connection: Connection) -> None:
    poisoned = append_orders(connection, 2, PAID, SHIPPED)
    append_orders(connection, 3, PAID)
    refresh(connection)
    newer = replace(POISONED, foldings=(replace(POISONED.current, version="newer"),))  # type: ignore[type-var]
    replay(connection, newer)
    found = preview(connection, newer)
    assert found is not None
    assert (found.gone, found.changed, found.quarantined, found.differences) == (0, 2, 2, 2)
    promoted = promote(connection, newer)
    assert promoted is not None
    assert (promoted.changed, promoted.gone) == (2, 0)
    assert statuses(connection) == {"Paid": 5}
    assert quarantined(connection, "orders") == set(poisoned)
    marked = connection.execute(
        "SELECT DISTINCT projection, version, event_type, error FROM quarantined_orders"
    ).fetchall()
    assert marked == [("orders", 2, "OrderShipped", "version 2, OrderShipped: ZeroDivisionError: poison")]


def test_a_reader_in_a_loop_never_sees_a_mixture_of_two_rules(
    connection: Connection, database_url: str
) -> None:
    append_orders(connection, 200, SHIPPED, CANCELLED)
    refresh(connection)
    seen: list[dict[str, int]] = []
    done = Event()

    def poll() -> None:
        with open_connection(database_url) as reader:
            while not done.is_set():
                seen.append(statuses(reader))
            seen.append(statuses(reader))

    with ThreadPoolExecutor(1) as threads:
        polling = threads.submit(poll)
        replay(connection, BOTH)
        promote(connection, BOTH)
        done.set()
        polling.result()
    assert len(seen) > 2
    assert all(found in ({"Cancelled": 200}, {"Returned": 200}) for found in seen)
    assert seen[-1] == {"Returned": 200}
