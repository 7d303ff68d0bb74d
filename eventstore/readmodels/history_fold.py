"""Bring ``order_history`` forward: events close the rows that they supersede and add the corrected ones."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from uuid import UUID

import msgspec

from eventstore.domain.folding import evolve
from eventstore.domain.history import Belief, Span, Timeline, recorded_ms
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import Connection
from eventstore.readmodels.events import FOLD_JSON, events_in, events_of
from eventstore.readmodels.fold import Folded, Target
from eventstore.readmodels.history_rows import close_rows, delete_orders, insert_rows, read_beliefs
from eventstore.readmodels.quarantine import Poisoned, poisoned_by, quarantine, quarantined, release


def learn_into(connection: Connection, target: Target, events: list[FoldEvent]) -> Folded:
    """Bring the rows of the target forward by ``events``: whole milliseconds, in feed order without gaps.

    Must run in a transaction. Events that the rows hold already are passed over. An event in business order
    closes one row of its order and adds two; a late one closes every row from its business time on. Learned
    again from the start are the orders in quarantine and those whose rows were folded by other rules.
    """
    by_order: dict[UUID, list[FoldEvent]] = {}
    for event in events:
        by_order.setdefault(event.order_id, []).append(event)
    since = {order_id: min(event.created_at for event in stream) for order_id, stream in by_order.items()}
    held = read_beliefs(connection, target.projection, target.table, since)
    again = quarantined(connection, target.table) & by_order.keys()
    news: dict[UUID, list[FoldEvent]] = {}
    for order_id, stream in by_order.items():
        last = held[order_id][-1].state if order_id in held else None
        new_events = [event for event in stream if last is None or event.version > last.version]
        if not new_events or order_id in again:
            continue
        if last is not None and last.fold_version != target.mark:
            again.add(order_id)
        else:
            news[order_id] = new_events

    late = {
        order_id: (since[order_id], held[order_id][-1].state.version)
        for order_id in news
        if order_id in held and held[order_id][-1].valid_from > since[order_id]
    }
    known = _events_known_after(connection, late)
    closed: list[Span] = []
    added: list[Span] = []
    poisoned: list[Poisoned] = []
    for order_id, new_events in news.items():
        spans = _learn(target, order_id, new_events, held.get(order_id, []), known.get(order_id, []))
        if isinstance(spans, Poisoned):
            poisoned.append(spans)
            continue
        first = recorded_ms(new_events[0])
        added += (span for span in spans if span.recorded_from >= first)
        closed += (span for span in spans if span.recorded_from < first and span.recorded_to is not None)
    close_rows(connection, target.table, closed)
    rows = insert_rows(connection, target.projection, target.table, added)
    quarantine(connection, target.table, poisoned)
    rows += relearn(connection, target, list(again), until=events[-1].id) if again else 0
    return Folded(rows=rows, refolded=len(late) + len(again))


def relearn(connection: Connection, target: Target, order_ids: list[UUID], until: UUID) -> int:
    """Write the history of orders anew from their first event up to ``until``; returns the rows written."""
    histories = list(learn_orders(target, events_of(connection, order_ids, until)))
    learned = [history for history in histories if not isinstance(history, Poisoned)]
    release(connection, target.table, order_ids)
    quarantine(connection, target.table, [history for history in histories if isinstance(history, Poisoned)])
    delete_orders(connection, target.table, [history[0].state.order_id for history in learned])
    return insert_rows(
        connection, target.projection, target.table, (span for history in learned for span in history)
    )


def learn_orders(target: Target, events: Iterable[FoldEvent]) -> Iterator[list[Span] | Poisoned]:
    """The whole history of each order; its events come together, in any order."""
    for order_id, stream in groupby(events, key=attrgetter("order_id")):
        yield _learn(target, order_id, sorted(stream, key=attrgetter("version")))


def _learn(
    target: Target,
    order_id: UUID,
    events: list[FoldEvent],
    beliefs: Iterable[Belief] = (),
    known: Iterable[FoldEvent] = (),
) -> list[Span] | Poisoned:
    """The spans that there are after ``events``, superseded ones first. An event that the rules fail on stops
    its order, not the others.
    """
    at_fault = events[0]

    def evolved(state: OrderState, event: FoldEvent) -> OrderState:
        nonlocal at_fault
        at_fault = event
        return evolve(target.folding, state, event)

    initial = msgspec.structs.replace(target.projection.initial(order_id), fold_version=target.mark)
    timeline = Timeline(initial, evolved, beliefs, known)
    try:
        return [*timeline.learn_all(events), *timeline.known()]
    except Exception as error:
        return poisoned_by(at_fault, error)


def _events_known_after(
    connection: Connection, late: dict[UUID, tuple[int, int]]
) -> dict[UUID, list[FoldEvent]]:
    """By order, its events after a business time up to a version: what a late event has evolved again."""
    known: dict[UUID, list[FoldEvent]] = {}
    if not late:
        return known
    rows = connection.execute(
        f"SELECT {FOLD_JSON}"
        "  FROM unnest(%s::uuid[], %s::bigint[], %s::int[]) AS late(late_order, since, up_to)"
        "  JOIN order_events ON order_id = late_order AND created_at > since AND version <= up_to"
        " ORDER BY order_id, created_at, version",
        (list(late), [since for since, _ in late.values()], [version for _, version in late.values()]),
    )
    for event in events_in(rows):
        known.setdefault(event.order_id, []).append(event)
    return known
