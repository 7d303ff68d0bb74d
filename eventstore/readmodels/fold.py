"""Fold new events into a projection's table: the one place where events become rows."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from eventstore.domain.folding import Folding, advance
from eventstore.domain.recorded import FoldEvent, fold_order, to_ms
from eventstore.log.connection import Connection
from eventstore.readmodels.events import events_of
from eventstore.readmodels.projection import Projection
from eventstore.readmodels.quarantine import Poisoned, poisoned_by, quarantine, quarantined, release
from eventstore.readmodels.rows import mark_rows, read_states, upsert_states

_BATCH = 5_000


class Target(NamedTuple):
    """Where folded rows go, and by which rules."""

    projection: Projection[Any]
    table: str
    folding: Folding
    mark: str | None = None  #: fold_version of the rows: None where the rules are those of the whole table


class Folded(NamedTuple):
    rows: int  #: orders written
    refolded: int  #: of these, folded again from their first event


def fold_into(connection: Connection, target: Target, events: list[FoldEvent]) -> Folded:
    """Bring the rows of the target forward by ``events``, which come in feed order without gaps.

    Must run in a transaction. Events that a row holds already are passed over. Folded again from the start
    are the orders with a late event, one older than what the row holds; those whose row was folded by other
    rules, so that no row mixes two; and those in quarantine.
    """
    by_order: dict[int, list[FoldEvent]] = {}
    for event in events:
        by_order.setdefault(event.order_id.int, []).append(event)  # a UUID is slow to hash
    orders = {stream[0].order_id: stream for stream in by_order.values()}
    before = read_states(connection, target.projection, target.table, orders)
    again = quarantined(connection, target.table) & orders.keys()
    folded: list[Any] = []
    for order_id, stream in orders.items():
        state = before.get(order_id) or target.projection.initial(order_id)
        new_events = [event for event in stream if event.version > state.version]
        if not new_events or order_id in again:
            continue
        new_events.sort(key=fold_order)
        late = new_events[0].created_at < to_ms(state.last_event_at)
        if state.version and (late or state.fold_version != target.mark):
            again.add(order_id)
        else:
            folded.append(_advanced(target.folding, state, new_events))
    rows = write(connection, target, folded)
    refolded = refold(connection, target, list(again), until=events[-1].id) if again else 0
    return Folded(rows=rows + refolded, refolded=refolded)


def refold(connection: Connection, target: Target, order_ids: list[UUID], until: UUID) -> int:
    """Fold orders again from their first event up to ``until``; returns the rows written."""
    release(connection, target.table, order_ids)
    rows = 0
    for start in range(0, len(order_ids), _BATCH):
        events = events_of(connection, order_ids[start : start + _BATCH], until)
        rows += write(connection, target, list(fold_orders(target.projection, target.folding, events)))
    return rows


def fold_orders(
    projection: Projection[Any], folding: Folding, events: Iterable[FoldEvent]
) -> Iterator[Any | Poisoned]:
    """The states of orders whose events come one order after the other, each in fold order."""
    for _, stream in groupby(events, key=attrgetter("order_id.int")):  # a UUID is slow to compare
        first = next(stream)
        yield _advanced(folding, projection.initial(first.order_id), chain((first,), stream))  # noqa: B031


def write(connection: Connection, target: Target, folded: list[Any | Poisoned]) -> int:
    """Write the states, put the orders of which there is none in quarantine; returns the rows written."""
    poisoned = [state for state in folded if isinstance(state, Poisoned)]
    states = [state for state in folded if not isinstance(state, Poisoned)]
    quarantine(connection, target.table, poisoned)
    return upsert_states(connection, target.projection, target.table, mark_rows(states, target.mark))


def _advanced(folding: Folding, state: Any, events: Iterable[FoldEvent]) -> Any | Poisoned:
    """The state after ``events``, written into it. One that the rules fail on stops its order only."""
    for event in events:
        try:
            advance(folding, state, event)
        except Exception as error:
            return poisoned_by(event, error)
    return state
