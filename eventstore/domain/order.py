"""The state of an order and the rules that fold its events into it.

Facts are never refused: real producers ship before they are paid and before the order exists. The status
follows from which facts are present; what is odd is noted in ``anomalies``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from eventstore.domain.events import (
    EVENT_TYPES,
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
from eventstore.domain.upcasters import PAYLOAD_VERSION, UNMARKED_VERSION

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
    unknown_events: tuple[str, ...] = ()  #: types that the rules did not know; they changed nothing
    fold_version: str | None = None  #: the rules of this row where they are not those of its table


# A rule says what an event changes in a state, and what is odd about it.
Outcome = tuple[dict[str, Any], list[str]]
Rule = Callable[[OrderState, Any, datetime], Outcome]


def _created(state: OrderState, event: OrderCreated, at: datetime) -> Outcome:
    if state.placed_at is not None:
        return {}, ["created_twice"]
    changes: dict[str, Any] = {"placed_at": at, "customer_id": event.customer_id}
    if state.amount is None:  # else a correction said better, earlier
        changes.update(amount=event.amount, currency=event.currency)
    return changes, []


def _paid(state: OrderState, event: OrderPaid, at: datetime) -> Outcome:
    odd = _odd(paid_before_created=state.placed_at is None, paid_twice=state.paid_at is not None)
    return {"paid_at": state.paid_at or at, "paid_amount": state.paid_amount + event.amount}, odd


def _shipped(state: OrderState, _: OrderShipped, at: datetime) -> Outcome:
    return {"shipped_at": state.shipped_at or at}, _odd(
        shipped_before_created=state.placed_at is None,
        shipped_before_paid=state.paid_at is None,
        shipped_after_cancelled=state.cancelled_at is not None,
    )


def _delivered(state: OrderState, _: OrderDelivered, at: datetime) -> Outcome:
    odd = _odd(delivered_before_shipped=state.shipped_at is None)
    return {"delivered_at": state.delivered_at or at}, odd


def _cancelled(state: OrderState, _: OrderCancelled, at: datetime) -> Outcome:
    odd = _odd(cancelled_after_shipped=state.shipped_at is not None)
    return {"cancelled_at": state.cancelled_at or at}, odd


def _refunded(state: OrderState, event: OrderRefunded, at: datetime) -> Outcome:
    refunded = state.refunded_amount + event.amount
    odd = _odd(refunded_more_than_paid=refunded > state.paid_amount)
    return {"refunded_at": state.refunded_at or at, "refunded_amount": refunded}, odd


def _amount_corrected(state: OrderState, event: OrderAmountCorrected, _: datetime) -> Outcome:
    odd = _odd(amount_corrected_before_created=state.placed_at is None)
    return {"amount": event.amount, "currency": event.currency}, odd


def _odd(**found: bool) -> list[str]:
    return [name for name, present in found.items() if present]


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

    def evolve(self, state: OrderState, recorded: FoldEvent) -> OrderState:
        """The state after one more event. Events come in the order of ``(created_at, version)``."""
        event, at = recorded.event, from_ms(recorded.created_at)
        rule = self.rules.get(type(event))
        changes: dict[str, Any]
        odd: list[str]
        if rule is None:
            name = str(event) if isinstance(event, UnknownEvent) else recorded.event_type
            changes, odd = {"unknown_events": (*state.unknown_events, name)}, []
        else:
            changes, odd = rule(state, event, at)
        if recorded.version > state.version:
            changes.update(version=recorded.version, last_event_id=recorded.id)
        if odd:
            changes["anomalies"] = (*state.anomalies, *(name for name in odd if name not in state.anomalies))
        changed = msgspec.structs.replace(state, last_event_at=at, **changes)
        msgspec.structs.force_setattr(changed, "status", self.status(changed))  # nobody has seen it yet
        return changed

    def knows(self, name: str) -> bool:
        """Whether an event that a state lists in ``unknown_events`` has a rule now."""
        event_type, _, payload_version = name.partition(" v")
        known = EVENT_TYPES.get(event_type) in self.rules
        return known and int(payload_version or UNMARKED_VERSION) <= PAYLOAD_VERSION


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


def evolve(state: OrderState, recorded: FoldEvent) -> OrderState:
    """The state after one more event, by the current rules."""
    return ORDER_RULES[-1].evolve(state, recorded)


def fold(order_id: UUID, events: Iterable[FoldEvent]) -> OrderState:
    """The state of an order after ``events``, given in any order."""
    state = OrderState(order_id=order_id)
    for event in sorted(events, key=lambda event: (event.created_at, event.version)):
        state = evolve(state, event)
    return state
