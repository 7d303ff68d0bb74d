"""Errors of the store that a caller can act on. Each message says what was wrong and what to do."""

from uuid import UUID

from eventstore.kernel.addresses import without_logins
from eventstore.log.position import Position


class EventStoreError(Exception):
    """Any error of the store that is the caller's to handle. Its message shows no password of an address."""

    def __init__(self, message: str = "") -> None:
        super().__init__(without_logins(message))


class ConcurrencyError(EventStoreError):
    """The order was not at the expected version: somebody else appended first."""

    def __init__(self, order_id: UUID, expected: int, found: int) -> None:
        super().__init__(
            f"order {order_id} is at version {found}, expected {expected}: "
            "read it again, decide again, and append with the version you read"
        )
        self.order_id = order_id
        self.expected = expected
        self.found = found


class InvalidEventError(EventStoreError):
    """An event that the log cannot take."""


class DatabaseUnavailableError(EventStoreError):
    """The database cannot be reached, cannot do its work now, or is not an event store."""


class BusyError(EventStoreError):
    """Other sessions were in the way for too long. Nothing was done; who they are is in the message."""


class ConsumerBusyError(EventStoreError):
    """Another process follows the log under the same consumer name."""


class ConsumerOwnerError(EventStoreError):
    """The consumer belongs to another role, or the login may not follow the log at all."""


class UnknownConsumerError(EventStoreError):
    """There is no consumer of that name."""


class WatermarkError(EventStoreError):
    """A watermark that a consumer cannot have: above what readers can have been shown."""


class EpochError(EventStoreError):
    """What a reader was given before may not be in this log: it was restored, or a replica took over."""

    def __init__(self, message: str, accepted: Position) -> None:
        super().__init__(message)
        self.accepted = accepted  #: behind it a reader that accepts this goes on
