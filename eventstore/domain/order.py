"""The state of an order and the rules that fold its events into it.

Facts are never refused: real producers ship before they are paid and before the order exists. The status
follows from which facts are present; what is odd is noted in ``anomalies``.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from eventstore.domain.events import (
    OrderAmountCorrected,
    OrderCancelled,
    OrderCreated,
    OrderDelivered,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    UnknownEvent,
)
from eventstore.domain.recorded import FoldEvent, from_ms

#: Raise this whenever the rules below change what a fold returns: `orders` is then known to be out of date.
RULES_VERSION = "1"

_ZERO = Decimal("0.00")


class OrderState(msgspec.Struct, frozen=True, kw_only=True):
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


def evolve(state: OrderState, recorded: FoldEvent) -> OrderState:
    """The state after one more event. Events come in the order of ``(created_at, version)``."""
    at = from_ms(recorded.created_at)
    changes: dict[str, Any] = {"last_event_at": at}
    odd: list[str] = []
    match recorded.event:
        case OrderCreated() as event:
            if state.placed_at is not None:
                odd.append("created_twice")
            else:
                changes.update(placed_at=at, customer_id=event.customer_id)
                if "amount_corrected_before_created" not in state.anomalies:
                    changes.update(amount=event.amount, currency=event.currency)
        case OrderPaid() as event:
            changes.update(paid_at=state.paid_at or at, paid_amount=state.paid_amount + event.amount)
            if state.placed_at is None:
                odd.append("paid_before_created")
            if state.paid_at is not None:
                odd.append("paid_twice")
        case OrderShipped():
            changes.update(shipped_at=state.shipped_at or at)
            if state.placed_at is None:
                odd.append("shipped_before_created")
            if state.paid_at is None:
                odd.append("shipped_before_paid")
            if state.cancelled_at is not None:
                odd.append("shipped_after_cancelled")
        case OrderDelivered():
            changes.update(delivered_at=state.delivered_at or at)
            if state.shipped_at is None:
                odd.append("delivered_before_shipped")
        case OrderCancelled():
            changes.update(cancelled_at=state.cancelled_at or at)
            if state.shipped_at is not None:
                odd.append("cancelled_after_shipped")
        case OrderRefunded() as event:
            refunded = state.refunded_amount + event.amount
            changes.update(refunded_at=state.refunded_at or at, refunded_amount=refunded)
            if refunded > state.paid_amount:
                odd.append("refunded_more_than_paid")
        case OrderAmountCorrected() as event:
            changes.update(amount=event.amount, currency=event.currency)
            if state.placed_at is None:
                odd.append("amount_corrected_before_created")
        case UnknownEvent(event_type=name):
            odd.append(f"unknown_event:{name}")
    if recorded.version > state.version:
        changes.update(version=recorded.version, last_event_id=recorded.id)
    if odd:
        changes["anomalies"] = (*state.anomalies, *(name for name in odd if name not in state.anomalies))
    changed = msgspec.structs.replace(state, **changes)
    return msgspec.structs.replace(changed, status=status_of(changed))


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


def fold(order_id: UUID, events: Iterable[FoldEvent]) -> OrderState:
    """The state of an order after ``events``, given in any order."""
    state = OrderState(order_id=order_id)
    for event in sorted(events, key=lambda event: (event.created_at, event.version)):
        state = evolve(state, event)
    return state
