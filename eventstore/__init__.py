"""An event store for orders on PostgreSQL.

>>> import eventstore
>>> store = eventstore.connect()
>>> store.append(order_id, [eventstore.OrderPaid(amount="12.50", currency="EUR")], expected_version=1)
"""

from typing import TYPE_CHECKING

from eventstore.engine.interpretations import TwoInterpretationsWarning
from eventstore.engine.state import UnfoldableEventError, UnknownVersionError
from eventstore.face.store import Store, connect
from eventstore.kernel.events import Event, UndecodableEvent, UnknownEvent
from eventstore.log.append import Fact
from eventstore.log.errors import (
    BusyError,
    ConcurrencyError,
    ConsumerBusyError,
    ConsumerOwnerError,
    DatabaseUnavailableError,
    EpochError,
    EventStoreError,
    InvalidEventError,
    UnknownConsumerError,
    WatermarkError,
)
from eventstore.log.position import Position
from eventstore.orders.domain import DOMAIN
from eventstore.orders.events import (
    OrderAmountCorrected,
    OrderCancelled,
    OrderCreated,
    OrderDelivered,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
)
from eventstore.orders.order import OrderState

if TYPE_CHECKING:
    from eventstore.kernel.recorded import RecordedEvent
else:
    RecordedEvent = DOMAIN.events.recorded_event  # whose `event` is one of the types above

__all__ = [
    "BusyError",
    "ConcurrencyError",
    "ConsumerBusyError",
    "ConsumerOwnerError",
    "DatabaseUnavailableError",
    "EpochError",
    "Event",
    "EventStoreError",
    "Fact",
    "InvalidEventError",
    "OrderAmountCorrected",
    "OrderCancelled",
    "OrderCreated",
    "OrderDelivered",
    "OrderPaid",
    "OrderRefunded",
    "OrderShipped",
    "OrderState",
    "Position",
    "RecordedEvent",
    "Store",
    "TwoInterpretationsWarning",
    "UndecodableEvent",
    "UnfoldableEventError",
    "UnknownConsumerError",
    "UnknownEvent",
    "UnknownVersionError",
    "WatermarkError",
    "connect",
]
