"""An event store for orders on PostgreSQL.

>>> import eventstore
>>> store = eventstore.connect()
>>> store.append(order_id, [eventstore.OrderPaid(amount="12.50", currency="EUR")], expected_version=1)
"""

from eventstore.domain.events import (
    Event,
    OrderAmountCorrected,
    OrderCancelled,
    OrderCreated,
    OrderDelivered,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    UndecodableEvent,
    UnknownEvent,
)
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import RecordedEvent
from eventstore.face.store import Store, connect
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
from eventstore.readmodels.state import UnfoldableEventError, UnknownVersionError

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
    "UndecodableEvent",
    "UnfoldableEventError",
    "UnknownConsumerError",
    "UnknownEvent",
    "UnknownVersionError",
    "WatermarkError",
    "connect",
]
