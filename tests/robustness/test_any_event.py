"""Any JSON and any text through SQL: refused with a reason, or harmless to the rest."""

import json
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID, uuid4

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.robustness import strategies
from tests.robustness.everything import run_everything
from tests.robustness.naive import Given
from tests.robustness.senders import append, append_good, writer

_FUNCTIONS = ("append_events", "record_events")
_EXPECTED = (None, None, None, None, 0, 1, -1)


@given(
    orders=strategies.good_orders,
    bad=st.lists(
        st.tuples(strategies.events, st.sampled_from(_EXPECTED), st.sampled_from(_FUNCTIONS)),
        min_size=60,
        max_size=60,
    ),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=3, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
def test_an_event_is_refused_with_a_reason_or_harms_its_order_alone(
    fresh: Callable[[], AbstractContextManager[str]],
    orders: list[list[Given]],
    bad: list[tuple[Any, int | None, str]],
    chance: random.Random,
) -> None:
    good = {uuid4(): events for events in orders}
    work: list[tuple[UUID, Given] | tuple[Any, int | None, str]] = [
        (order, event) for order, events in good.items() for event in events
    ]
    for attempt in bad:
        work.insert(chance.randrange(len(work) + 1), attempt)
    taken: dict[UUID, int] = {}
    with fresh() as url:
        with writer(url) as connection:
            for what in work:
                if len(what) == 2:
                    append_good(connection, *what)
                    continue
                event, expected, function = what
                order = chance.choice([uuid4(), uuid4(), *taken])
                if append(connection, order, json.dumps([event]), expected, function):
                    taken[order] = taken.get(order, 0) + 1
        run_everything(url, good, taken)
