"""What each event of an order changed in what was known of it, in the order in which they were recorded."""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from eventstore.domain.order import OrderState
from eventstore.domain.recorded import FoldEvent, RecordedEvent, fold_order, to_ms

#: Fields that say where a state stands in the log, not what the order is like.
_POSITION = frozenset({"order_id", "version", "last_event_id", "last_event_at", "fold_version"})


class Change(NamedTuple):
    before: Any
    after: Any


class Learned(NamedTuple):
    """An event, and what recording it changed in the order as it was known."""

    event: RecordedEvent
    changes: dict[str, Change]  #: by field
    late_by: timedelta | None  #: how much it is older than what was known; None where it is the latest
    anomalies: list[str]  #: what has become odd
    resolved: list[str]  #: what is odd no more
    error: str | None  #: why the rules failed on it; it changed nothing then


def changes_between(before: OrderState, after: OrderState) -> dict[str, Change]:
    """The fields of two states that differ; their positions in the log do not count."""
    return {
        field: Change(getattr(before, field), getattr(after, field))
        for field in before.__struct_fields__
        if field not in _POSITION and getattr(before, field) != getattr(after, field)
    }


def learn(
    events: Iterable[RecordedEvent], evolve: Callable[[OrderState, FoldEvent], OrderState]
) -> Iterator[Learned]:
    """Go through the events of one order, given by version. A late one changes all states after its time."""
    told: list[FoldEvent] = []  # in the order of the fold
    states: list[OrderState] = []  # after each of them
    for event in events:
        new = _to_fold(event)
        known = states[-1] if states else OrderState(order_id=event.order_id)
        late_by = known.last_event_at - event.happened_at if states else timedelta()
        late = late_by if late_by > timedelta() else None
        place = bisect(told, fold_order(new), key=fold_order)
        state = states[place - 1] if place else OrderState(order_id=event.order_id)
        again = [new, *told[place:]]
        try:
            following = []
            for each in again:
                state = evolve(state, each)
                following.append(state)
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            yield Learned(event, {}, late, [], [], what)
            continue
        told[place:], states[place:] = again, following
        yield Learned(
            event,
            {name: change for name, change in changes_between(known, state).items() if name != "anomalies"},
            late,
            [name for name in state.anomalies if name not in known.anomalies],
            [name for name in known.anomalies if name not in state.anomalies],
            None,
        )


def _to_fold(event: RecordedEvent) -> FoldEvent:
    payload_version = event.metadata.get("schema_version")
    return FoldEvent(
        event.id,
        event.order_id,
        event.version,
        event.event_type,
        msgspec.Raw(msgspec.json.encode(event.data)),
        to_ms(event.happened_at),
        None if payload_version is None else str(payload_version),
    )
