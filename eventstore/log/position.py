"""A position in the feed, for readers that keep their own."""

from typing import NamedTuple, Self
from uuid import UUID


class Position(NamedTuple):
    """The id of the last event that was read, and the epoch in which it was read."""

    epoch: int
    id: UUID

    def __str__(self) -> str:
        return f"{self.epoch}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``EPOCH:ID``. Raises ValueError."""
        epoch, _, event_id = text.partition(":")
        try:
            if epoch.isascii() and epoch.isdecimal() and 1 <= int(epoch) < 2**31:
                return cls(int(epoch), UUID(event_id))
        except ValueError:
            pass
        raise ValueError(f"{text!r} is no position in the feed: expected EPOCH:ID")


#: Before the first event.
START = Position(1, UUID(int=0))
