"""The state of an order and the rules that fold its events into it.

Facts are never refused: real producers ship before they are paid and before the order exists. The status
follows from which facts are present; what is odd is noted in ``anomalies``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, Inexact
from typing import Any
from uuid import UUID

import msgspec

from eventstore.kernel.codec import Codec
from eventstore.kernel.events import UnknownEvent
from eventstore.kernel.folding import advance
from eventstore.kernel.recorded import FoldEvent, fold_order, from_ms
from eventstore.orders.events import (
    EVENTS,
    OrderAmountCorrected,
    OrderCancelled,
    OrderCreated,
    OrderDelivered,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
)

_ZERO = Decimal("0.00")
#: Adds money exactly whatever the precision of the thread that folds. An order has fewer than 2**31 events of
#: less than 10**8: its sums have 20 digits at most.
_plus = Context(prec=60, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact]).add

#: So many kinds of events that the rules do not know an order may have; one more ends its fold.
_UNKNOWN_KINDS = 100


class OrderState(msgspec.Struct, kw_only=True, gc=False):
    """An order after some of its events. Each field is a column of ``orders``."""

    order_id: UUID
    customer_id: UUID | None = None
    amount: Decimal | None = None
    currency: str | None = None
    status: str = "Unknown"
    paid_amount: Decimal = _ZERO
    refunded_amount: Decimal = _ZERO
    placed_at: datetime | None = None
    paid_at: datetime | None = None
    shipped_at: datetime | None = None
    delivered_at: datetime | None = None
    cancelled_at: datetime | None = None
    refunded_at: datetime | None = None
    version: int = 0  #: the highest version folded
    last_event_id: UUID = UUID(int=0)  #: the id of that version
    last_event_at: datetime = from_ms(0)  #: business time of the latest event
    anomalies: tuple[str, ...] = ()
    unknown_events: tuple[str, ...] = ()  #: types that the rules did not know; they changed nothing
    fold_version: str | None = None  #: the rules of this row where they are not those of its table

    def note(self, anomaly: str) -> None:
        """Add to the anomalies what is not among them yet."""
        if anomaly not in self.anomalies:
            self.anomalies = (*self.anomalies, anomaly)


# A rule writes what an event changes into a state that nobody else holds, and notes what is odd about it.
Rule = Callable[[OrderState, Any, datetime], None]


def _created(order: OrderState, event: OrderCreated, at: datetime) -> None:
    if order.placed_at is not None:
        order.note("created_twice")
        return
    order.placed_at, order.customer_id = at, event.customer_id
    if order.amount is None:  # else a correction said better, earlier
        order.amount, order.currency = event.amount, event.currency


def _paid(order: OrderState, event: OrderPaid, at: datetime) -> None:
    if order.placed_at is None:
        order.note("paid_before_created")
    if order.paid_at is not None:
        order.note("paid_twice")
    order.paid_at = order.paid_at or at
    order.paid_amount = _plus(order.paid_amount, event.amount)


def _shipped(order: OrderState, _: OrderShipped, at: datetime) -> None:
    if order.placed_at is None:
        order.note("shipped_before_created")
    if order.paid_at is None:
        order.note("shipped_before_paid")
    if order.cancelled_at is not None:
        order.note("shipped_after_cancelled")
    order.shipped_at = order.shipped_at or at


def _delivered(order: OrderState, _: OrderDelivered, at: datetime) -> None:
    if order.shipped_at is None:
        order.note("delivered_before_shipped")
    order.delivered_at = order.delivered_at or at


def _cancelled(order: OrderState, _: OrderCancelled, at: datetime) -> None:
    if order.shipped_at is not None:
        order.note("cancelled_after_shipped")
    order.cancelled_at = order.cancelled_at or at


def _refunded(order: OrderState, event: OrderRefunded, at: datetime) -> None:
    order.refunded_at = order.refunded_at or at
    order.refunded_amount = _plus(order.refunded_amount, event.amount)
    if order.refunded_amount > order.paid_amount:
        order.note("refunded_more_than_paid")


def _amount_corrected(order: OrderState, event: OrderAmountCorrected, _: datetime) -> None:
    if order.placed_at is None:
        order.note("amount_corrected_before_created")
    order.amount, order.currency = event.amount, event.currency


def _unknown(order: OrderState, name: str) -> None:
    if name in order.unknown_events:
        return
    if len(order.unknown_events) >= _UNKNOWN_KINDS:
        raise ValueError(f"more than {_UNKNOWN_KINDS} kinds of events that the rules do not know")
    order.unknown_events = (*order.unknown_events, name)


def status_of(state: OrderState) -> str:
    """The status that the facts in ``state`` amount to."""
    if state.cancelled_at is not None:
        return "Cancelled"
    if state.delivered_at is not None:
        return "Delivered"
    if state.shipped_at is not None:
        return "Shipped"
    if state.paid_at is not None:
        return "Paid"
    if state.placed_at is not None:
        return "Created"
    return "Unknown"


@dataclass(frozen=True)
class Rules:
    """One version of the interpretation of events: what each does to a state, and what status that makes."""

    version: str
    rules: Mapping[type, Rule]
    status: Callable[[OrderState], str] = status_of
    events: Codec = EVENTS

    def apply(self, state: OrderState, recorded: FoldEvent, at: datetime) -> None:
        """Write what the event, which happened ``at``, changes in the state."""
        event = recorded.event
        rule = self.rules.get(type(event))
        if rule is not None:
            rule(state, event, at)
        else:
            _unknown(state, str(event) if isinstance(event, UnknownEvent) else recorded.event_type)
        if recorded.version > state.version:
            state.last_event_id = recorded.id
        state.status = self.status(state)

    def knows(self, name: str) -> bool:
        """Whether an event that a state lists in ``unknown_events`` has a rule now."""
        return self.events.knows(name, self.rules)


RULES_1 = Rules(
    version="1",
    rules={
        OrderCreated: _created,
        OrderPaid: _paid,
        OrderShipped: _shipped,
        OrderDelivered: _delivered,
        OrderCancelled: _cancelled,
        OrderRefunded: _refunded,
        OrderAmountCorrected: _amount_corrected,
    },
)

#: The versions of the rules, the current one last. To change a rule, add a version with the new rule and keep
#: the one before it until the replay is promoted: till then new events are folded by the rules of the table.
ORDER_RULES = (RULES_1,)


def fold(order_id: UUID, events: Iterable[FoldEvent]) -> OrderState:
    """The state of an order after ``events``, given in any order, by the current rules."""
    state = OrderState(order_id=order_id)
    for event in sorted(events, key=fold_order):
        advance(ORDER_RULES[-1], state, event)
    return state
