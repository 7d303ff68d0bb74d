"""Bring ``order_history`` forward: events close the rows that they supersede and add the corrected ones."""

from collections.abc import Iterable, Iterator
from copy import copy
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

import msgspec

from eventstore.domain.folding import advance
from eventstore.domain.history import Belief, Span, Timeline, recorded_ms
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import Connection
from eventstore.readmodels.events import FOLD_JSON, events_in
from eventstore.readmodels.fold import Advance, Folded, Outcome, Target, refold
from eventstore.readmodels.history_rows import close_rows, insert_rows, read_beliefs
from eventstore.readmodels.quarantine import quarantined
from eventstore.readmodels.refusals import write_apart
from eventstore.readmodels.rows import delete_rows


def learn_into(connection: Connection, target: Target, events: list[FoldEvent]) -> Folded:
    """Bring the rows of the target forward by ``events``: whole milliseconds, in feed order without gaps.

    Must run in a transaction. Events that the rows hold already are passed over. An event in business order
    closes one row of its order and adds two; a late one closes every row from its business time on. Learned
    again from the start are the orders in quarantine, those that fail now, and those whose rows were folded
    by other rules.
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
    changes: list[_Change] = []
    for order_id, new_events in news.items():
        timeline = _timeline(target, order_id, advance, held.get(order_id, []), known.get(order_id, []))
        spans = [*timeline.learn_all(new_events), *timeline.known()]
        if timeline.failure:
            again.add(order_id)
            continue
        first = recorded_ms(new_events[0])
        added = [span for span in spans if span.recorded_from >= first]
        closed = [span for span in spans if span.recorded_from < first and span.recorded_to is not None]
        changes.append(_Change(order_id, closed, added))
    rows, refused = write_apart(connection, partial(_apply, connection, target), changes)
    again |= {change.order_id for change, _ in refused}
    rows += refold(connection, target, list(again), until=events[-1].id) if again else 0
    return Folded(rows=rows, refolded=len(late.keys() | again))


class _Change(NamedTuple):
    """What new events do to the rows of an order."""

    order_id: UUID
    closed: list[Span]
    added: list[Span]


def _apply(connection: Connection, target: Target, changes: list[_Change]) -> int:
    close_rows(connection, target.table, [span for change in changes for span in change.closed])
    added = (span for change in changes for span in change.added)
    return insert_rows(connection, target.projection, target.table, added)


def replace_histories(connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
    """Write the history of orders anew; returns the rows written."""
    delete_rows(connection, target.table, [outcome.order_id for outcome in outcomes])
    spans = (span for outcome in outcomes for span in outcome.kept)
    return insert_rows(connection, target.projection, target.table, spans)


def learn_orders(
    target: Target, events: Iterable[FoldEvent], advance: Advance = advance
) -> Iterator[Outcome]:
    """The whole history of each order, superseded spans first; its events come together, in any order."""
    for order_id, stream in groupby(events, key=attrgetter("order_id")):
        timeline = _timeline(target, order_id, advance)
        superseded = timeline.learn_all(sorted(stream, key=attrgetter("version")))
        yield Outcome(order_id, [*superseded, *timeline.known()], timeline.failure)


def _timeline(
    target: Target,
    order_id: UUID,
    advance: Advance,
    beliefs: Iterable[Belief] = (),
    known: Iterable[FoldEvent] = (),
) -> Timeline:
    folding = target.folding

    def evolved(state: OrderState, event: FoldEvent) -> OrderState:
        changed = copy(state)
        advance(folding, changed, event)
        return changed

    initial = target.projection.initial(order_id)
    if target.mark is not None:
        initial = msgspec.structs.replace(initial, fold_version=target.mark)
    return Timeline(initial, evolved, beliefs, known)


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
