"""The event types: one class per type, its name is the name in the log.

A class shows what the rules use. A payload may carry more (`Fact.details`): the log keeps all of it.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from eventstore.domain.money import exact_amount, is_currency
from eventstore.domain.shown import shown


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened to an order. Subclasses are the event types."""

    @classmethod
    def type_name(cls) -> str:
        return cls.__name__


class _WithAmount(Event, frozen=True, kw_only=True):
    amount: Decimal
    currency: str  #: ISO 4217 code

    def __post_init__(self) -> None:
        amount = exact_amount(self.amount)
        if amount is not self.amount:
            msgspec.structs.force_setattr(self, "amount", amount)
        if not is_currency(self.currency):
            raise ValueError(
                f'currency must be three capital letters such as "EUR", found {shown(self.currency)}'
            )


class OrderCreated(_WithAmount, frozen=True, kw_only=True):
    """A customer placed the order."""

    customer_id: UUID


class OrderPaid(_WithAmount, frozen=True, kw_only=True):
    """The order, or a part of it, was paid."""


class OrderShipped(Event, frozen=True, kw_only=True):
    """The parcel was handed to the carrier."""

    carrier: str | None = None
    tracking_number: str | None = None
    estimated_delivery: datetime | None = None


class OrderDelivered(Event, frozen=True, kw_only=True):
    """The customer has the parcel."""


class OrderCancelled(Event, frozen=True, kw_only=True):
    """The order was called off."""

    reason: str | None = None


class OrderRefunded(_WithAmount, frozen=True, kw_only=True):
    """Money went back to the customer: all that was paid, or a part."""

    reason: str | None = None


class OrderAmountCorrected(_WithAmount, frozen=True, kw_only=True):
    """The order's amount was wrong; ``amount`` is the right one."""

    reason: str | None = None


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a newer writer: its type, or its payload version, is not known to this code."""

    event_type: str
    data: dict[str, Any]
    payload_version: int

    def __str__(self) -> str:
        if self.event_type in EVENT_TYPES:
            return f"{self.event_type} v{self.payload_version}"
        if _VERSIONED.fullmatch(self.event_type):  # a type may be any text, also this
            return f'"{self.event_type}"'
        return self.event_type


def versioned(name: str) -> tuple[str, int] | None:
    """The type and the payload version that an UnknownEvent's name tells; None where it is only a type."""
    found = _VERSIONED.fullmatch(name)
    return (found[1], int(found[2])) if found else None


_VERSIONED = re.compile(r"(.+) v([0-9]{1,9})", re.DOTALL | re.ASCII)


class UndecodableEvent(msgspec.Struct, frozen=True):
    """An event that the log holds and this code cannot make sense of."""

    event_type: str
    raw: str  #: the payload as the log has it
    error: str


EVENT_TYPES: dict[str, type[Event]] = {
    cls.type_name(): cls
    for cls in (
        OrderCreated,
        OrderPaid,
        OrderShipped,
        OrderDelivered,
        OrderCancelled,
        OrderRefunded,
        OrderAmountCorrected,
    )
}
