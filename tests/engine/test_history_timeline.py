"""The timeline of one order, without a database: exact for every pair of moments, however the news come."""

from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventstore.kernel.folding import evolving
from eventstore.kernel.recorded import FoldEvent
from eventstore.kernel.timeline import Belief, Span, Timeline
from eventstore.orders.events import EVENTS
from eventstore.orders.order import OrderState, fold
from tests.shipped import RULES

ORDER = UUID(int=7)
NOBODY = OrderState(order_id=ORDER)
DATA = {"OrderShipped": b"{}", "OrderPaid": b'{"amount": "1.00", "currency": "EUR"}', "Unheard": b"{}"}

# What happened, when, and how many milliseconds of recorded time after the event before it was recorded.
evolve: Callable[[OrderState, FoldEvent], OrderState] = evolving(RULES)
facts = st.lists(
    st.tuples(st.sampled_from(sorted(DATA)), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=9
)


def recorded(facts: list[tuple[str, int, int]]) -> list[FoldEvent]:
    events: list[FoldEvent] = []
    ms = 100
    for version, (kind, at, pause) in enumerate(facts, start=1):
        ms += pause
        events.append(
            EVENTS.fold_event(
                kind, UUID(int=(ms << 80) + version), ORDER, version, at, None, msgspec.Raw(DATA[kind])
            )
        )
    return events


def ms_of(event: FoldEvent) -> int:
    return event.id.int >> 80


def holds(span: Span, at: int, known: int) -> bool:
    return (
        span.valid_from <= at
        and (span.valid_to is None or at < span.valid_to)
        and span.recorded_from <= known
        and (span.recorded_to is None or known < span.recorded_to)
    )


def assert_exact(events: list[FoldEvent], spans: list[Span]) -> None:
    for at, known in product(range(-1, 8), range(99, ms_of(events[-1]) + 2)):
        told = [event for event in events if event.created_at <= at and ms_of(event) <= known]
        answers = [span.state for span in spans if holds(span, at, known)]
        assert answers == ([fold(ORDER, told)] if told else []), (at, known)
    for span in spans:
        assert span.valid_to is None or span.valid_from < span.valid_to
        assert span.recorded_to is None or span.recorded_from < span.recorded_to


@settings(max_examples=150)
@given(facts)
@example([("OrderPaid", 5, 0), ("OrderShipped", 5, 0), ("OrderPaid", 0, 1), ("OrderPaid", 5, 1)])
def test_its_spans_answer_every_pair_of_moments_with_exactly_one_state(
    given_facts: list[tuple[str, int, int]],
) -> None:
    events = recorded(given_facts)
    timeline = Timeline(NOBODY, evolve)
    assert_exact(events, [*timeline.learn_all(events), *timeline.known()])


@settings(max_examples=150)
@given(facts, st.data())
def test_it_goes_on_from_the_part_of_what_was_known_that_the_news_reach(
    given_facts: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    events = recorded(given_facts)
    ends_of_ms = [n for n in range(1, len(events)) if ms_of(events[n]) > ms_of(events[n - 1])]
    cut = data.draw(st.sampled_from([0, *ends_of_ms]))
    old, new = events[:cut], events[cut:]
    first = Timeline(NOBODY, evolve)
    spans = [*first.learn_all(old), *first.known()]

    earliest = min(event.created_at for event in new)
    reached = [
        span
        for span in spans
        if span.recorded_to is None and (span.valid_to is None or span.valid_to > earliest)
    ]
    later = sorted(
        (event for event in old if event.created_at > earliest), key=lambda e: (e.created_at, e.version)
    )
    second = Timeline(
        NOBODY, evolve, [Belief(span.state, span.valid_from, span.recorded_from) for span in reached], later
    )
    kept = [span for span in spans if span not in reached]
    assert_exact(events, [*kept, *second.learn_all(new), *second.known()])


def test_an_event_in_business_order_evolves_one_state_and_supersedes_one_span() -> None:
    evolved: list[FoldEvent] = []

    def counting(state: OrderState, event: FoldEvent) -> OrderState:
        evolved.append(event)
        return evolve(state, event)

    events = recorded([("OrderPaid", at, 1) for at in range(50)])
    timeline = Timeline(NOBODY, counting)
    superseded: list[Any] = [timeline.learn([event]) for event in events]
    assert evolved == events
    assert [len(spans) for spans in superseded] == [0, *[1] * 49]


def test_a_late_event_evolves_only_what_comes_after_it() -> None:
    evolved: list[int] = []

    def counting(state: OrderState, event: FoldEvent) -> OrderState:
        evolved.append(event.version)
        return evolve(state, event)

    events = recorded([*(("OrderPaid", at, 1) for at in range(0, 100, 10)), ("OrderPaid", 75, 1)])
    timeline = Timeline(NOBODY, counting)
    list(timeline.learn_all(events[:-1]))
    evolved.clear()
    superseded = timeline.learn([events[-1]])
    assert evolved == [11, 9, 10]
    assert [(span.valid_from, span.valid_to) for span in superseded] == [(70, 80), (80, 90), (90, None)]
