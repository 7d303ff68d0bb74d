"""How events become a state: rules write what each of them changes, one event after the other."""

from copy import copy
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from eventstore.domain.recorded import FoldEvent, from_ms


class FoldedState(Protocol):
    """What every state tells; its other fields are the projection's own."""

    @property
    def order_id(self) -> UUID: ...
    @property
    def fold_version(self) -> str | None: ...

    version: int
    last_event_at: datetime


class Folding(Protocol):
    """One version of the rules of a projection."""

    @property
    def version(self) -> str: ...
    def apply(self, state: Any, recorded: FoldEvent, at: datetime, /) -> None:
        """Write what the event, which happened ``at``, changes in the state; ``state.version`` and
        ``state.last_event_at`` are still those before it."""

    def knows(self, name: str, /) -> bool:
        """Whether an event that a state lists in ``unknown_events`` has a rule now."""


S = TypeVar("S", bound=FoldedState)


def advance(folding: Folding, state: FoldedState, event: FoldEvent) -> None:
    """Bring a state that nobody else holds forward by one event.

    Events come in the order of ``(created_at, version)``.
    """
    at = from_ms(event.created_at)
    folding.apply(state, event, at)
    state.last_event_at = at
    state.version = max(state.version, event.version)


def evolve(folding: Folding, state: S, event: FoldEvent) -> S:
    """The state after one more event; ``state`` stays what it is."""
    changed = copy(state)
    advance(folding, changed, event)
    return changed
