"""The history of one order: what its state was when (business time), and when we knew (recorded time).

Recorded time moves in whole milliseconds, as ids do: what one millisecond recorded is learned at once. Then
the state known at K is the fold of the events recorded at or before K, and no period is ever empty. Where one
of those fails, it is the fold of those before it, until what is recorded later heals that.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from operator import attrgetter, lt
from typing import Any, Generic, NamedTuple

from eventstore.kernel.folding import Failure, FoldError, S
from eventstore.kernel.recorded import END_OF_TIME_MS, FoldEvent, fold_order


class Span(NamedTuple):
    """A state, when it was true and when that was what we knew. Ends are excluded; None: no end yet."""

    state: Any
    valid_from: int
    valid_to: int | None
    recorded_from: int
    recorded_to: int | None


class Belief(NamedTuple):
    """A state that, as far as we know now, was true from ``valid_from`` until the next one began."""

    state: Any
    valid_from: int
    recorded_from: int


class Timeline(Generic[S]):
    """What is known of an order, learned millisecond by millisecond.

    May start from an empty order, or from what was known before: the ``beliefs`` from any point of business
    time on, and the ``events`` after the first of them, in the order of their fold. Nothing before that point
    may be learned then, and none of the events may fail.
    """

    failure: Failure | None = None  #: the first event, of all that are known, that cannot be folded

    def __init__(
        self,
        initial: S,
        evolve: Callable[[S, FoldEvent], S],
        beliefs: Iterable[Belief] = (),
        events: Iterable[FoldEvent] = (),
    ) -> None:
        self._initial, self._evolve = initial, evolve
        self._beliefs, self._events = list(beliefs), list(events)

    def learn_all(self, events: Iterable[FoldEvent]) -> Iterator[Span]:
        """Learn events that come in the order of their ids; yields the spans that are superseded by that."""
        events = list(events)
        superseded = self._learn_in_business_order(events)
        if superseded is not None:
            yield from superseded
        else:
            for _, together in groupby(events, key=recorded_ms):
                yield from self.learn(list(together))

    def learn(self, events: list[FoldEvent]) -> list[Span]:
        """Learn all events that one millisecond recorded; returns the spans that are superseded by that.

        An event in business order supersedes the last span. An older one supersedes every span from its
        business time on: each state after it is evolved again.
        """
        recorded = recorded_ms(events[0])
        earliest = min(event.created_at for event in events)
        if self.failure and (self.failure.at, self.failure.version) < min(map(fold_order, events)):
            for event in events:
                insort(self._events, event, key=fold_order)
            return []
        covering = bisect_right(self._beliefs, earliest, key=attrgetter("valid_from")) - 1
        first = max(covering, 0)
        superseded = list(self._spans(first, recorded_to=recorded))
        state = self._initial
        begun = None  # where events at the earliest time are known already
        kept: list[Belief] = []
        if covering >= 0:
            before = self._beliefs[covering]
            state = before.state
            if before.valid_from < earliest:
                kept = [before._replace(recorded_from=recorded)]
            else:
                begun = earliest
        self._beliefs[first:] = kept

        later = bisect_right(self._events, earliest, key=attrgetter("created_at"))
        self._events[later:] = sorted([*self._events[later:], *events], key=fold_order)
        self.failure = None
        for at, together in groupby(self._events[later:], key=attrgetter("created_at")):
            is_known = at == begun
            try:
                for event in together:
                    state = self._evolve(state, event)
                    is_known = True
            except FoldError as error:
                self.failure = error.failure
            if is_known:
                self._beliefs.append(Belief(state, at, recorded))
            if self.failure:
                break
        if self.failure and _says_the_same(self._beliefs[first:], superseded):
            self._beliefs[first:] = [Belief(*span[:2], span.recorded_from) for span in superseded]
            return []
        return superseded

    def _learn_in_business_order(self, events: list[FoldEvent]) -> list[Span] | None:
        """Learn all at once where each event happened and was recorded later than the one before, as most do.

        None, and nothing is learned, where it is otherwise, or where one fails.
        """
        last = self._beliefs[-1:]
        states = [belief.state for belief in last]
        times = [*(belief.valid_from for belief in last), *(event.created_at for event in events)]
        recorded = [*(belief.recorded_from for belief in last), *map(recorded_ms, events)]
        if self.failure or not (_rises(times) and _rises(recorded)):
            return None
        state = states[0] if states else self._initial
        try:
            for event in events:
                state = self._evolve(state, event)
                states.append(state)
        except FoldError:
            return None
        self._events += events
        self._beliefs[-1:] = map(Belief, states, times, [*recorded[1:], *recorded[-1:]])
        return [
            Span(state, valid_from, None, recorded_from, recorded_to)
            for state, valid_from, (recorded_from, recorded_to) in zip(
                states, times, pairwise(recorded), strict=False
            )
        ]

    def known(self) -> Iterator[Span]:
        """The spans that stand: one after the other without a gap, the last one without end."""
        return self._spans(0, recorded_to=None)

    def _spans(self, first: int, recorded_to: int | None) -> Iterator[Span]:
        for index in range(first, len(self._beliefs)):
            state, valid_from, recorded_from = self._beliefs[index]
            last = index + 1 == len(self._beliefs)
            valid_to = None if last else self._beliefs[index + 1].valid_from
            yield Span(state, valid_from, valid_to, recorded_from, recorded_to)


def recorded_ms(event: FoldEvent) -> int:
    """The millisecond in which the log recorded it."""
    ms = event.id.int >> 80
    return ms if ms <= END_OF_TIME_MS else END_OF_TIME_MS  # as RecordedEvent.recorded_at


def _rises(numbers: list[int]) -> bool:
    return all(map(lt, numbers, numbers[1:]))


def _says_the_same(beliefs: list[Belief], spans: list[Span]) -> bool:
    return [belief[:2] for belief in beliefs] == [span[:2] for span in spans]
