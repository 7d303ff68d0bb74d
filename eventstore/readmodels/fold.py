"""Fold new events into a projection's table: the one place where events become rows."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from eventstore.domain.recorded import FoldEvent, to_ms
from eventstore.log.connection import Connection
from eventstore.readmodels.events import events_of
from eventstore.readmodels.projection import Projection
from eventstore.readmodels.rows import read_states, upsert_states


class Folded(NamedTuple):
    rows: int  #: orders written
    refolded: int  #: of these, folded again from their first event because a late one came


def fold_into(
    connection: Connection, projection: Projection[Any], table: str, events: list[FoldEvent]
) -> Folded:
    """Bring the rows of ``table`` forward by ``events``, which come in feed order without gaps.

    Must run in a transaction. Events that a row holds already are passed over. An order with a late event,
    one older than what its row holds, is folded again from the start.
    """
    by_order: dict[UUID, list[FoldEvent]] = {}
    for event in events:
        by_order.setdefault(event.order_id, []).append(event)
    before = read_states(connection, projection, table, list(by_order))
    states: dict[UUID, Any] = {}
    late: list[UUID] = []
    for order_id, stream in by_order.items():
        state = before.get(order_id) or projection.initial(order_id)
        new_events = [event for event in stream if event.version > state.version]
        if not new_events:
            continue
        new_events.sort(key=attrgetter("created_at", "version"))
        if state.version and new_events[0].created_at < to_ms(state.last_event_at):
            late.append(order_id)
            continue
        for event in new_events:
            state = projection.evolve(state, event)
        states[order_id] = state
    if late:
        refolded = events_of(connection, late, until=events[-1].id)
        states.update((state.order_id, state) for state in fold_orders(projection, refolded))
    upsert_states(connection, projection, table, states.values())
    return Folded(rows=len(states), refolded=len(late))


def fold_orders(projection: Projection[Any], events: Iterable[FoldEvent]) -> Iterator[Any]:
    """The states of orders whose events come one order after the other, each in fold order."""
    for order_id, stream in groupby(events, key=attrgetter("order_id")):
        state = projection.initial(order_id)
        for event in stream:
            state = projection.evolve(state, event)
        yield state
