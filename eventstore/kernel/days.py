"""Business days, and the states of an order worth keeping: at the end of a day, and now and then within."""

from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from eventstore.kernel.folding import Failure, FoldError, S
from eventstore.kernel.recorded import FoldEvent

#: Between two kept states of an order lie about as many events: what a read then folds takes no time.
CHECKPOINT_EVERY = 100

#: Above every version.
LAST_VERSION = 2**31 - 1


_EPOCH = date(1970, 1, 1)
_DAY_MS = 86_400_000


def day_of(ms: int) -> date:
    """The business day that a millisecond belongs to."""
    return _EPOCH + timedelta(days=ms // _DAY_MS)


def start_of_day_ms(day: date) -> int:
    """The first millisecond of a business day, which is a UTC day."""
    return (day - _EPOCH).days * _DAY_MS


def end_of_day_ms(day: date) -> int:
    return start_of_day_ms(day) + _DAY_MS - 1


class Kept(NamedTuple):
    """A state together with its position in the order of the fold: it holds the events up to there."""

    state: Any
    events: int
    day: date
    until_at: int
    until_version: int
    is_end_of_day: bool  #: of the day's events that can be folded


def states_to_keep(
    state: S,
    held: int,
    events: Iterable[FoldEvent],
    evolve: Callable[[S, FoldEvent], S],
    days: Container[date],
    every: int | None = None,
    failed: Callable[[Failure], None] | None = None,
) -> Iterator[Kept]:
    """Fold ``events``, which come in the order of the fold, into ``state``, which holds ``held`` events. Keep
    what a read may start from: the state at the end of each of ``days`` that has events and, with ``every``,
    after so many in between.

    Ends before the first event that fails, and ``failed`` is told. What is kept of its day goes up to the
    event before, so that whoever starts there meets the one that fails.
    """
    kept_at = held
    for number, todays in groupby(events, key=lambda event: event.created_at // _DAY_MS):
        day = day_of(number * _DAY_MS)
        until = None
        for event in todays:
            try:
                state = evolve(state, event)
            except FoldError as error:
                if until is not None and day in days:
                    yield Kept(state, held, day, *until, is_end_of_day=True)
                if failed:
                    failed(error.failure)
                return
            held += 1
            until = (event.created_at, event.version)
            if held - kept_at == every:
                yield Kept(state, held, day, event.created_at, event.version, is_end_of_day=False)
                kept_at = held
        if day in days:
            yield Kept(state, held, day, (number + 1) * _DAY_MS - 1, LAST_VERSION, is_end_of_day=True)
            kept_at = held
