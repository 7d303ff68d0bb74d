"""From events to rows, order by order: where an event fails, or makes a row that is refused, its order stops.

This is the one place where a failing event becomes an order in quarantine.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID

from eventstore.engine.projection import Outcome, Target
from eventstore.engine.quarantine import settle, stops
from eventstore.engine.reading import events_of
from eventstore.engine.writing import copy_rows, delete_rows, lines_of, refusal, write_apart
from eventstore.kernel.folding import Failure, FoldError, Folding, advance
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection

_BATCH = 5_000


def refold(
    connection: Connection, target: Target, order_ids: list[UUID], until: UUID, *, only_changed: bool = False
) -> int:
    """Fold orders again from their first event up to ``until``; returns the rows written.

    With ``only_changed`` the rows of those that still stop at the same event stay as they are.
    """
    rows = 0
    events = partial(events_of, connection, target.projection.events, until=until)
    for start in range(0, len(order_ids), _BATCH):
        some = order_ids[start : start + _BATCH]
        stopped = stops(connection, target.table, some) if only_changed else {}
        outcomes = list(target.layout.outcomes(target, events(some), advance))
        replace = partial(target.layout.replace, connection, target)
        written, failures = write_outcomes(connection, target, outcomes, events, replace, stopped)
        settle(connection, target.table, some, failures)
        rows += written
    return rows


def write_outcomes(
    connection: Connection,
    target: Target,
    outcomes: list[Outcome],
    events: Callable[[list[UUID]], Iterable[FoldEvent]],
    write: Callable[[list[Outcome]], int],
    stopped: dict[UUID, tuple[int, int]] | None = None,
) -> tuple[int, list[Failure]]:
    """``write`` what was folded; returns the number of rows, and what stops which orders.

    An order whose rows are refused keeps those before the first event that makes a state which is refused:
    ``events`` gives its events, all that were folded, once more. Nothing is written of one that still stops
    at its place in ``stopped``.
    """

    def changed(outcome: Outcome) -> bool:
        at = outcome.failure and (outcome.failure.at, outcome.failure.version)
        return at is None or not stopped or stopped.get(outcome.order_id) != at

    failures = {outcome.order_id: outcome.failure for outcome in outcomes if outcome.failure}
    rows, refused = write_apart(connection, write, [outcome for outcome in outcomes if changed(outcome)])
    for outcome, reason in refused:
        its_events = list(events([outcome.order_id]))
        writable = _as_far_as_can_be_written(connection, target, its_events)
        # What is refused all the same, as by rows of other orders, shows nothing.
        failures[outcome.order_id] = writable.failure or FoldError(its_events[-1], reason).failure
        for attempt in (writable, writable._replace(kept=[])):
            written, still_refused = write_apart(connection, write, [attempt] if changed(attempt) else [])
            rows += written
            if not still_refused:
                if attempt is writable and writable.failure is None:
                    del failures[outcome.order_id]
                break
    return rows, list(failures.values())


def _as_far_as_can_be_written(connection: Connection, target: Target, events: list[FoldEvent]) -> Outcome:
    """The fold of an order's events before the first that makes a state which the table refuses."""

    def advance_if_writable(folding: Folding, state: Any, event: FoldEvent) -> None:
        advance(folding, state, event)
        rows = [(state, event)]
        try:
            with connection.transaction(force_rollback=True):
                copy_rows(connection, target.table, target.columns, rows, probe)
        except Exception as error:
            if reason := refusal(error):
                raise FoldError(event, reason) from error
            raise

    def probe(folded: list[tuple[Any, FoldEvent]]) -> bytes:
        return lines_of(target.layout.row_after(*each) for each in folded)

    with connection.transaction(force_rollback=True):
        # They are not what a row of it is refused for.
        write_apart(connection, partial(delete_rows, connection, target.table), [events[0].order_id])
        (outcome,) = target.layout.outcomes(target, events, advance_if_writable)
    return outcome
