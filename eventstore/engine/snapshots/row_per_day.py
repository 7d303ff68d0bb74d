"""A table with a row per order and business day, and beside it one of checkpoints within long streams."""

from collections.abc import Callable, Container, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from eventstore.engine.projection import Advance, Outcome, Target
from eventstore.engine.snapshots.starts import Start
from eventstore.engine.writing import copy_rows, delete_rows, lines_of
from eventstore.kernel.days import Kept, day_of, states_to_keep
from eventstore.kernel.folding import Failure, advance, evolving
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection

SNAPSHOTS, CHECKPOINTS = "order_snapshots", "order_checkpoints"


class RowPerDay:
    """The layout of both tables: the fields of the state, then its position in the fold of its order.

    Kept are the states at the end of ``days`` and, with ``every``, after so many events in between. Each
    order is folded on from its start.
    """

    columns: tuple[str, ...] = ("day", "until_at", "until_version", "events")

    def __init__(
        self, start_of: Callable[[UUID], Start], days: Container[Any], every: int | None = None
    ) -> None:
        self._start_of, self._days, self._every = start_of, days, every

    def outcomes(
        self, target: Target, events: Iterable[FoldEvent], advance: Advance = advance
    ) -> Iterator[Outcome]:
        """What is to be kept of orders, from their events after their starts."""
        evolve: Callable[[Any, FoldEvent], Any] = evolving(target.folding, advance)
        for order_id, stream in groupby(events, key=attrgetter("order_id")):
            start = self._start_of(order_id)
            state = msgspec.structs.replace(start.state, fold_version=target.mark)
            failures: list[Failure] = []
            kept = states_to_keep(
                state, start.events, stream, evolve, self._days, self._every, failures.append
            )
            yield Outcome(order_id, list(kept), next(iter(failures), None))

    def replace(self, connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
        for table in (target.table, CHECKPOINTS):
            delete_rows(connection, table, [outcome.order_id for outcome in outcomes])
        return self.add(connection, target, outcomes)

    def add(self, connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
        """Write what is kept of orders beside what is kept of them already; returns the snapshots."""
        kept: list[Kept] = [each for outcome in outcomes for each in outcome.kept]
        ends_of_days = [each for each in kept if each.is_end_of_day]
        checkpoints = [each for each in kept if not each.is_end_of_day]
        for table, rows in ((target.table, ends_of_days), (CHECKPOINTS, checkpoints)):
            if rows:
                copy_rows(connection, table, target.columns, rows, self.lines)
        return len(ends_of_days)

    def lines(self, kept: list[Kept]) -> bytes:
        return lines_of(map(_row, kept))

    def row_after(self, state: Any, event: FoldEvent) -> tuple[Any, ...]:
        day = day_of(event.created_at)
        return _row(Kept(state, 0, day, event.created_at, event.version, is_end_of_day=True))


def _row(kept: Kept) -> tuple[Any, ...]:
    position = (kept.day, kept.until_at, kept.until_version, kept.events)
    return (*msgspec.structs.astuple(kept.state), *position)
