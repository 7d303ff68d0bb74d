"""How events become a state: rules write what each of them changes, one event after the other.

An event that the rules fail on ends the fold of its order: the state stays that of the events before it.
"""

from collections.abc import Callable, Iterable
from copy import copy, deepcopy
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from eventstore.kernel.recorded import FoldEvent, from_ms

#: So many events are kept to be folded again up to the one that fails.
_BLOCK = 1_000


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


class Failure(NamedTuple):
    """The event that ends the fold of its order, and why."""

    order_id: UUID
    version: int
    event_type: str
    at: int  #: its business time in ms; with the version its place in the fold
    error: str  #: in words that any table takes

    def __str__(self) -> str:
        return f"version {self.version}, {self.event_type}: {self.error}"


class FoldError(Exception):
    """An event cannot be folded into the state of its order."""

    def __init__(self, event: FoldEvent, error: Exception | str) -> None:
        try:
            words = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        except Exception:  # it cannot even say what it is
            words = type(error).__name__
        words = words.replace("\0", "\\0").encode(errors="backslashreplace").decode()[:1_000]
        self.failure = Failure(event.order_id, event.version, event.event_type, event.created_at, words)
        super().__init__(str(self.failure))


def advance(folding: Folding, state: FoldedState, event: FoldEvent) -> None:
    """Bring a state that nobody else holds forward by one event.

    Events come in the order of ``(created_at, version)``. Raises FoldError where the rules fail, whatever it
    is that fails; they may have changed half of the state then.
    """
    try:
        at = from_ms(event.created_at)
        folding.apply(state, event, at)
        state.last_event_at = at
        state.version = max(state.version, event.version)
    except MemoryError:  # says nothing about the event
        raise
    except Exception as error:
        raise FoldError(event, error) from error


def evolving(
    folding: Folding, advance: Callable[[Folding, Any, FoldEvent], None] = advance
) -> Callable[[S, FoldEvent], S]:
    """A function that gives the state after one more event and leaves the one before as it is."""

    def evolved(state: S, event: FoldEvent) -> S:
        changed = copy(state)
        advance(folding, changed, event)
        return changed

    return evolved


class Prefix(NamedTuple, Generic[S]):
    """The fold of events up to the first that fails."""

    state: S
    folded: int  #: how many events it took
    failure: Failure | None


def fold_prefix(
    folding: Folding,
    initial: Callable[[], S],
    events: Iterable[FoldEvent],
    advance: Callable[[Folding, Any, FoldEvent], None] = advance,
) -> Prefix[S]:
    """Fold ``events``, which come in the order of the fold, up to the first that fails.

    ``initial`` makes the state to begin with, each time anew. ``advance`` may refuse an event by FoldError.
    """
    events = iter(events)
    state, folded = initial(), 0
    while True:
        block = list(islice(events, _BLOCK))
        try:
            for event in block:
                advance(folding, state, event)
        except FoldError as error:
            state = initial()  # the rules may have changed half of the other one
            for event in block:
                if event.version == error.failure.version:
                    break
                advance(folding, state, event)
                folded += 1
            return Prefix(state, folded, error.failure)
        folded += len(block)
        if len(block) < _BLOCK:
            return Prefix(state, folded, None)
        initial = partial(copy, deepcopy(state))
