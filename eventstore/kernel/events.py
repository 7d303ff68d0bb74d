"""What an event is to the engine: the base of the event types, and what stands for one that makes no sense.

The types themselves belong to a domain, as do their upcasters: see `codec`.
"""

import re
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What happened to an order. Subclasses are the event types; the name of the class is that in the log.

    A class shows what the rules use. A payload may carry more (`Fact.details`): the log keeps all of it.
    """

    @classmethod
    def type_name(cls) -> str:
        return cls.__name__


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event of a newer writer: its type, or its payload version, is not known to this code."""

    event_type: str
    data: dict[str, Any]
    payload_version: int
    is_newer_version: bool = False  #: whether the type is known

    def __str__(self) -> str:
        if self.is_newer_version:
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
