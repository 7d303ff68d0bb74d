"""What must hold of snapshots and checkpoints: each is the fold of its order's events up to its place."""

from collections.abc import Callable, Container, Iterable, Iterator
from datetime import date
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.engine.healing import with_learned_events
from eventstore.engine.invariants.beside import differing_orders, room_beside
from eventstore.engine.invariants.ranges import among, between, next_orders, some_orders
from eventstore.engine.projection import Projection
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.engine.reading import stream_events
from eventstore.engine.snapshots.row_per_day import CHECKPOINTS, SNAPSHOTS, RowPerDay
from eventstore.engine.standing import standing
from eventstore.engine.writing import copy_rows
from eventstore.kernel.days import Kept, day_of, states_to_keep
from eventstore.kernel.folding import evolving
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection, one_moment, sibling
from eventstore.log.counting import count_rows

_BATCH = 2_000
_Place = tuple[int, int]  # in the order of the fold: (business time, version)


def snapshots_proof(states: Projection[Any]) -> Proof:
    """There is a snapshot of each order on each built day on which it has events, and no other; which
    checkpoints there are depends on when days were built. Left out is what `fold_proof` leaves out.
    """
    return Proof(
        name=SNAPSHOTS,
        description=f"Each row of {SNAPSHOTS} and {CHECKPOINTS} is a fold of its order's events up to there.",
        prove=partial(_prove, states),
        again=lambda connection, orders: _compare(connection, states, among(orders)).findings,
        total=lambda connection: count_rows(connection, "order_events").rows,
        sample=lambda connection, events: _compare(
            connection, states, among(some_orders(connection, SNAPSHOTS, events))
        ),
    )


def _prove(states: Projection[Any], connection: Connection, after: str | None, events: int) -> Share:
    first, last = next_orders(connection, "order_events", after, events)
    found = _compare(connection, states, between(first, last))
    return found._replace(until=None if last is None else str(last))


def _compare(connection: Connection, states: Projection[Any], where: sql.Composable) -> Share:
    with one_moment(connection):
        live = standing(connection, SNAPSHOTS)
        days = {day for (day,) in connection.execute("SELECT day FROM order_snapshot_days")}
        if live is None or not (days or _has_checkpoints(connection)):
            return Share(None, 0, [])
        rules = states.folding(live.fold_version)
        if rules is None:
            return Share(
                None,
                0,
                [],
                f"{SNAPSHOTS} follows rules {live.fold_version}, which this release does not have",
            )
        tables = [room_beside(connection, table) for table in (SNAPSHOTS, CHECKPOINTS)]
        left_out = _left_out(connection, where, live.fold_version)
        for table in (SNAPSHOTS, CHECKPOINTS):
            left_out |= with_learned_events(connection, states.target(SNAPSHOTS, rules), table)
        places = _places(connection, where)
        folded = _Folding(states, evolving(rules), days, places)
        with sibling(connection) as source:
            which = sql.SQL(
                "FROM order_events WHERE {} AND id <= {} ORDER BY order_id, created_at, version"
            ).format(where, live.watermark)
            for batch in _batches(folded.all_kept(stream_events(source, states.events, which))):
                for table, ends in zip(tables, (True, False), strict=True):
                    rows = [_row(kept) for kept in batch if kept.is_end_of_day is ends]
                    copy_rows(connection, table, (*states.columns, *RowPerDay.columns), rows)
        wrong = {
            order_id: table
            for table in (CHECKPOINTS, SNAPSHOTS)
            for order_id in differing_orders(connection, table, (*states.columns, *RowPerDay.columns), where)
            if order_id not in left_out
        }
    return Share(
        None,
        folded.events,
        [
            Finding(str(order_id), f"its rows in {table} differ from a fold of its events", table=table)
            for order_id, table in sorted(wrong.items())
        ],
    )


class _Folding:
    """Folds orders from their first events, and keeps the states that are kept in the tables."""

    def __init__(
        self,
        states: Projection[Any],
        evolve: Callable[[Any, FoldEvent], Any],
        days: Container[date],
        places: dict[int, set[_Place]],
    ) -> None:
        self.events = 0
        self._states, self._evolve, self._days, self._places = states, evolve, days, places

    def all_kept(self, events: Iterable[FoldEvent]) -> Iterator[Kept]:
        for _, stream in groupby(events, key=attrgetter("order_id.int")):  # a UUID is slow to compare
            yield from self._kept(stream)

    def _kept(self, stream: Iterator[FoldEvent]) -> Iterator[Kept]:
        first = next(stream)
        places = self._places.get(first.order_id.int, set())
        checkpoints: list[Kept] = []
        held = 0

        def evolve(state: Any, event: FoldEvent) -> Any:
            nonlocal held
            after = self._evolve(state, event)
            held += 1
            place = (event.created_at, event.version)
            if place in places:
                checkpoints.append(Kept(after, held, day_of(event.created_at), *place, is_end_of_day=False))
            return after

        def all_of_them() -> Iterator[FoldEvent]:
            yield first
            yield from stream

        yield from states_to_keep(self._states.initial(first.order_id), 0, all_of_them(), evolve, self._days)
        yield from checkpoints
        self.events += held


def _row(kept: Kept) -> tuple[Any, ...]:
    position = (kept.day, kept.until_at, kept.until_version, kept.events)
    return (*msgspec.structs.astuple(kept.state), *position)


def _batches(kept: Iterable[Kept]) -> Iterator[list[Kept]]:
    batch: list[Kept] = []
    for each in kept:
        batch.append(each)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _left_out(connection: Connection, where: sql.Composable, rules: str) -> set[UUID]:
    rows = connection.execute(
        sql.SQL(
            "SELECT order_id FROM quarantine WHERE projection = {snapshots} AND {where} "
            "UNION SELECT order_id FROM order_snapshots "
            "WHERE {where} AND fold_version IS DISTINCT FROM {rules} "
            "UNION SELECT order_id FROM order_checkpoints "
            "WHERE {where} AND fold_version IS DISTINCT FROM {rules}"
        ).format(snapshots=SNAPSHOTS, where=where, rules=rules)
    )
    return {order_id for (order_id,) in rows}


def _places(connection: Connection, where: sql.Composable) -> dict[int, set[_Place]]:
    places: dict[int, set[_Place]] = {}
    for order_id, at, version in connection.execute(
        sql.SQL("SELECT order_id, until_at, until_version FROM order_checkpoints WHERE {}").format(where)
    ):
        places.setdefault(order_id.int, set()).add((at, version))
    return places


def _has_checkpoints(connection: Connection) -> bool:
    row = connection.execute("SELECT EXISTS (SELECT FROM order_checkpoints)").fetchone()
    return bool(row and row[0])
