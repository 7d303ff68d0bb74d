"""What each event of an order changed in what was known of it, in the order in which they were recorded."""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventstore.kernel.folding import Failure, FoldError
from eventstore.kernel.recorded import FoldEvent, RecordedEvent, UndecodedEvent, fold_order, to_ms

#: Fields that say where a state stands in the log, not what the order is like.
_POSITION = frozenset({"order_id", "version", "last_event_id", "last_event_at", "fold_version"})


class Change(NamedTuple):
    before: Any
    after: Any


class HistoryEntry(NamedTuple):
    """An event, and what recording it changed in the order as it was known."""

    event: RecordedEvent
    changes: dict[str, Change]  #: by field
    late_by: timedelta | None  #: how much it is older than what was known; None where it is the latest
    anomalies: list[str]  #: what has become odd
    resolved: list[str]  #: what is odd no more
    error: str | None  #: why it, or an event before it in the order of the fold, cannot be folded


def changes_between(before: Any, after: Any) -> dict[str, Change]:
    """The fields of two states that differ; their positions in the log do not count."""
    return {
        field: Change(getattr(before, field), getattr(after, field))
        for field in before.__struct_fields__
        if field not in _POSITION and getattr(before, field) != getattr(after, field)
    }


def history_entries(
    events: Iterable[RecordedEvent],
    initial: Callable[[UUID], Any],
    evolve: Callable[[Any, FoldEvent], Any],
    fold_event: type[UndecodedEvent],
) -> Iterator[HistoryEntry]:
    """Go through the events of one order, given by version. A late one changes all states after its time.

    From the first on that cannot be folded, in the order of the fold, events change nothing; until one that
    is late heals that.
    """
    known_events: list[FoldEvent] = []  # in the order of the fold
    states: list[Any] = []  # after each of them, up to the first that fails
    failure: Failure | None = None
    for event in events:
        new = _to_fold(event, fold_event)
        known = states[-1] if states else initial(event.order_id)
        late_by = known.last_event_at - event.happened_at if states else timedelta()
        late = late_by if late_by > timedelta() else None
        place = bisect(known_events, fold_order(new), key=fold_order)
        known_events.insert(place, new)
        if place <= len(states):  # else it comes after the one that fails
            del states[place:]
            state, failure = states[-1] if states else initial(event.order_id), None
            try:
                for each in known_events[place:]:
                    state = evolve(state, each)
                    states.append(state)
            except FoldError as error:
                failure = error.failure
        else:
            state = known
        yield HistoryEntry(
            event,
            {name: change for name, change in changes_between(known, state).items() if name != "anomalies"},
            late,
            [name for name in _anomalies(state) if name not in _anomalies(known)],
            [name for name in _anomalies(known) if name not in _anomalies(state)],
            _why(failure, new),
        )


def _why(failure: Failure | None, event: FoldEvent) -> str | None:
    if failure is None or fold_order(event) < (failure.at, failure.version):
        return None
    return failure.error if failure.version == event.version else f"not folded, as {failure}"


def _anomalies(state: Any) -> tuple[str, ...]:
    return getattr(state, "anomalies", ())


def _to_fold(event: RecordedEvent, fold_event: type[UndecodedEvent]) -> FoldEvent:
    payload_version = event.metadata.get("schema_version")
    return fold_event(
        event.event_type,
        event.id,
        event.order_id,
        event.version,
        to_ms(event.happened_at),
        None if payload_version is None else str(payload_version),
        msgspec.Raw(event.payload),
    )
