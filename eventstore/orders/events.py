"""The event types of orders: one class per type, its name is the name in the log.

A class shows what the rules use. A payload may carry more (`Fact.details`): the log keeps all of it.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event
from eventstore.kernel.shown import shown
from eventstore.orders.money import check_amount, exact_amount, is_currency
from eventstore.orders.upcasters import UPCASTERS


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


EVENTS = Codec(
    types=(
        OrderCreated,
        OrderPaid,
        OrderShipped,
        OrderDelivered,
        OrderCancelled,
        OrderRefunded,
        OrderAmountCorrected,
    ),
    upcasters=UPCASTERS,
    check_payload=check_amount,
)
