"""Business days, and the states of an order worth keeping: at the end of a day, and now and then within."""

from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple

from eventstore.domain.order import OrderState
from eventstore.domain.recorded import FoldEvent

#: The business times that the log takes: the years 1 to 9999.
BEGINNING_OF_TIME_MS = -62_135_596_800_000
END_OF_TIME_MS = 253_402_300_799_999

#: Between two kept states of an order lie about as many events: what a read then folds takes no time.
CHECKPOINT_EVERY = 100

#: Above every version.
LAST_VERSION = 2**31 - 1


_EPOCH = date(1970, 1, 1)
_DAY_MS = 86_400_000


def start_of_day_ms(day: date) -> int:
    """The first millisecond of a business day, which is a UTC day."""
    return (day - _EPOCH).days * _DAY_MS


def end_of_day_ms(day: date) -> int:
    return start_of_day_ms(day) + _DAY_MS - 1


class Kept(NamedTuple):
    """A state together with its position in the order of the fold: it holds the events up to there."""

    state: OrderState
    events: int
    day: date
    until_at: int
    until_version: int
    is_end_of_day: bool


def states_to_keep(
    state: OrderState,
    held: int,
    events: Iterable[FoldEvent],
    evolve: Callable[[OrderState, FoldEvent], OrderState],
    days: Container[date],
    every: int | None = None,
) -> Iterator[Kept]:
    """Fold ``events``, which come in the order of the fold, into ``state``, which holds ``held`` events. Keep
    what a read may start from: the state at the end of each of ``days`` that has events and, with ``every``,
    after so many in between.
    """
    kept_at = held
    for number, todays in groupby(events, key=lambda event: event.created_at // _DAY_MS):
        day = _EPOCH + timedelta(days=number)
        for event in todays:
            state = evolve(state, event)
            held += 1
            if held - kept_at == every:
                yield Kept(state, held, day, event.created_at, event.version, is_end_of_day=False)
                kept_at = held
        if day in days:
            yield Kept(state, held, day, (number + 1) * _DAY_MS - 1, LAST_VERSION, is_end_of_day=True)
            kept_at = held
