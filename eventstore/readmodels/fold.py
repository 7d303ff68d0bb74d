"""Fold new events into a projection's table: the one place where events become rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventstore.domain.folding import Failure, FoldError, Folding, advance, fold_prefix
from eventstore.domain.recorded import FoldEvent, fold_order, to_ms
from eventstore.log.connection import Connection
from eventstore.readmodels.copying import copy_rows
from eventstore.readmodels.events import events_of
from eventstore.readmodels.projection import Layout, Projection
from eventstore.readmodels.quarantine import quarantined, settle, stops
from eventstore.readmodels.refusals import refusal, write_apart
from eventstore.readmodels.rows import apply_difference, delete_rows, read_states, upsert_states

_BATCH = 5_000

Advance = Callable[[Folding, Any, FoldEvent], None]


class Target(NamedTuple):
    """Where folded rows go, and by which rules."""

    projection: Projection[Any]
    table: str
    folding: Folding
    mark: str | None = None  #: fold_version of the rows: None where the rules are those of the whole table

    @property
    def layout(self) -> Layout:
        return layout_of(self.projection)


class Outcome(NamedTuple):
    """What the fold makes of an order."""

    order_id: UUID
    kept: list[Any]  #: what its rows are made of; empty where its very first event fails
    failure: Failure | None


class Folded(NamedTuple):
    rows: int  #: orders written
    refolded: int  #: of these, folded again from their first event


def fold_into(connection: Connection, target: Target, events: list[FoldEvent]) -> Folded:
    """Bring the rows of the target forward by ``events``, which come in feed order without gaps.

    Must run in a transaction. Events that a row holds already are passed over. Folded again from the start
    are the orders with a late event, one older than what the row holds; those whose row was folded by other
    rules, so that no row mixes two; those in quarantine, and those that fail now.
    """
    by_order: dict[int, list[FoldEvent]] = {}
    for event in events:
        by_order.setdefault(event.order_id.int, []).append(event)  # a UUID is slow to hash
    orders = {stream[0].order_id: stream for stream in by_order.values()}
    before = read_states(connection, target.projection, target.table, orders)
    again = quarantined(connection, target.table) & orders.keys()
    folded: list[Outcome] = []
    for order_id, stream in orders.items():
        state = before.get(order_id) or target.projection.initial(order_id)
        new_events = [event for event in stream if event.version > state.version]
        if not new_events or order_id in again:
            continue
        new_events.sort(key=fold_order)
        late = new_events[0].created_at < to_ms(state.last_event_at)
        if state.version and (late or state.fold_version != target.mark):
            again.add(order_id)
            continue
        try:
            for event in new_events:
                advance(target.folding, state, event)
        except FoldError:
            again.add(order_id)
        else:
            folded.append(Outcome(order_id, [_marked(state, target.mark)], None))
    rows, refused = write_apart(connection, partial(_upsert, connection, target), folded)
    again |= {outcome.order_id for outcome, _ in refused}
    refolded = refold(connection, target, list(again), until=events[-1].id) if again else 0
    return Folded(rows=rows + refolded, refolded=refolded)


def refold(
    connection: Connection, target: Target, order_ids: list[UUID], until: UUID, *, only_changed: bool = False
) -> int:
    """Fold orders again from their first event up to ``until``; returns the rows written.

    With ``only_changed`` the rows of those that still stop at the same event stay as they are.
    """
    rows = 0
    for start in range(0, len(order_ids), _BATCH):
        some = order_ids[start : start + _BATCH]
        stopped = stops(connection, target.table, some) if only_changed else {}
        outcomes = target.layout.outcomes(target, events_of(connection, some, until), advance)
        replace = partial(target.layout.replace, connection, target)
        written, failures = write_outcomes(connection, target, list(outcomes), until, replace, stopped)
        settle(connection, target.table, some, failures)
        rows += written
    return rows


def write_outcomes(
    connection: Connection,
    target: Target,
    outcomes: list[Outcome],
    until: UUID,
    write: Callable[[list[Outcome]], int],
    stopped: dict[UUID, tuple[int, int]] | None = None,
) -> tuple[int, list[Failure]]:
    """``write`` what was folded up to ``until``; returns the number of rows, and what stops which orders.

    An order whose rows are refused keeps those before the first event that makes a state which is refused.
    Nothing is written of one that still stops at its place in ``stopped``.
    """

    def changed(outcome: Outcome) -> bool:
        at = outcome.failure and (outcome.failure.at, outcome.failure.version)
        return at is None or not stopped or stopped.get(outcome.order_id) != at

    failures = {outcome.order_id: outcome.failure for outcome in outcomes if outcome.failure}
    rows, refused = write_apart(connection, write, [outcome for outcome in outcomes if changed(outcome)])
    for outcome, reason in refused:
        events = list(events_of(connection, [outcome.order_id], until))
        writable = _as_far_as_can_be_written(connection, target, events)
        # What is refused all the same, as by rows of other orders, shows nothing.
        failures[outcome.order_id] = writable.failure or FoldError(events[-1], reason).failure
        for attempt in (writable, writable._replace(kept=[])):
            written, still_refused = write_apart(connection, write, [attempt] if changed(attempt) else [])
            rows += written
            if not still_refused:
                if attempt is writable and writable.failure is None:
                    del failures[outcome.order_id]
                break
    return rows, list(failures.values())


def fold_orders(target: Target, events: Iterable[FoldEvent], advance: Advance = advance) -> Iterator[Outcome]:
    """Fold orders whose events come one order after the other, each in fold order, up to one that fails."""
    for _, stream in groupby(events, key=attrgetter("order_id.int")):  # a UUID is slow to compare
        first = next(stream)
        initial = partial(target.projection.initial, first.order_id)
        state, folded, failure = fold_prefix(target.folding, initial, chain((first,), stream), advance)  # noqa: B031
        yield Outcome(first.order_id, [_marked(state, target.mark)] if folded else [], failure)


def _upsert(connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
    gone = [outcome.order_id for outcome in outcomes if not outcome.kept]
    states = [state for outcome in outcomes for state in outcome.kept]
    delete_rows(connection, target.table, gone)
    return upsert_states(connection, target.projection, target.table, states) if states else 0


def _as_far_as_can_be_written(connection: Connection, target: Target, events: list[FoldEvent]) -> Outcome:
    """The fold of an order's events before the first that makes a state which the table refuses."""

    def advance_if_writable(folding: Folding, state: Any, event: FoldEvent) -> None:
        advance(folding, state, event)
        rows = [(state, event)]
        try:
            with connection.transaction(force_rollback=True):
                copy_rows(connection, target.table, target.projection.table_columns, rows, _probe)
        except Exception as error:
            if reason := refusal(error):
                raise FoldError(event, reason) from error
            raise

    def _probe(folded: tuple[Any, FoldEvent]) -> Sequence[Any]:
        return target.layout.probe(*folded)

    with connection.transaction(force_rollback=True):
        write_apart(connection, partial(delete_rows, connection, target.table), [events[0].order_id])
        (outcome,) = target.layout.outcomes(target, events, advance_if_writable)
    return outcome


def _marked(state: Any, mark: str | None) -> Any:
    """The state with ``fold_version`` as its row is to say it."""
    return state if mark is None else msgspec.structs.replace(state, fold_version=mark)


def _probe_row(state: Any, _: FoldEvent) -> Sequence[Any]:
    return msgspec.structs.astuple(state)


_ROW_PER_ORDER = Layout(
    columns=(),
    fold_into=fold_into,
    outcomes=fold_orders,
    replace=_upsert,
    row=msgspec.structs.astuple,
    probe=_probe_row,
    apply_difference=apply_difference,
)


def layout_of(projection: Projection[Any]) -> Layout:
    return projection.layout or _ROW_PER_ORDER
