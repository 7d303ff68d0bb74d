"""What must hold of a projection: its rows are what a fold of their orders' events says."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from psycopg import sql

from eventstore.engine.healing import with_learned_events
from eventstore.engine.invariants.beside import ahead_of_log, differing_orders, room_beside
from eventstore.engine.invariants.ranges import among, between, next_orders, some_orders
from eventstore.engine.projection import Outcome, Projection, Target
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.engine.reading import stream_events
from eventstore.engine.standing import standing
from eventstore.engine.writing import copy_rows, write_apart
from eventstore.kernel.folding import advance
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection, one_moment, sibling
from eventstore.log.counting import count_rows

_BATCH = 2_000


def fold_proof(projection: Projection[Any]) -> Proof:
    """Left out are orders in quarantine, those whose rows say that other rules folded them, and those with an
    event whose type this code has learned, which the next refresh folds. Where this code does not have the
    rules of the table, it cannot tell.
    """
    return Proof(
        name=projection.name,
        description=f"Each row of {projection.name} is what a fold of its order's events says.",
        prove=partial(_prove, projection),
        again=lambda connection, orders: _compare(connection, projection, among(orders)).findings,
        total=lambda connection: count_rows(connection, "order_events").rows,
        sample=partial(_sample, projection),
    )


def _prove(projection: Projection[Any], connection: Connection, after: str | None, events: int) -> Share:
    first, last = next_orders(connection, "order_events", after, events)
    return _compare(connection, projection, between(first, last))._replace(
        until=None if last is None else str(last)
    )


def _sample(projection: Projection[Any], connection: Connection, events: int) -> Share:
    return _compare(connection, projection, among(some_orders(connection, projection.name, events)))


def _compare(connection: Connection, projection: Projection[Any], where: sql.Composable) -> Share:
    """Fold orders up to the watermark, beside the live table: how many events that were, and which orders'
    rows differ. Writes nothing but a temporary table.
    """
    with one_moment(connection):
        live = standing(connection, projection.name)
        if live is None:
            return Share(None, 0, [])
        folding = projection.folding(live.fold_version)
        if folding is None:
            return Share(
                None,
                0,
                [],
                f"{projection.name} follows rules {live.fold_version}, which this release does not have",
            )
        target = projection.target(room_beside(connection, projection.name), folding)
        left_out = _left_out(connection, projection, where)
        left_out |= with_learned_events(connection, target, projection.name)
        counted = _Counted()
        refused: list[Finding] = []
        with sibling(connection) as source:
            # What is recorded up to the watermark never changes, so it needs no snapshot in common.
            which = sql.SQL(
                "FROM order_events WHERE {where} AND id <= {until} ORDER BY order_id, created_at, version"
            ).format(where=where, until=live.watermark)
            events = counted(stream_events(source, projection.events, which))
            for outcomes in _batches(target.layout.outcomes(target, events, advance)):
                kept = [outcome for outcome in outcomes if outcome.order_id not in left_out]
                _, apart = write_apart(connection, partial(_copy, connection, target), kept)
                refused += [Finding(str(outcome.order_id), reason) for outcome, reason in apart]
        left_out |= {UUID(finding.subject) for finding in refused}
        differing = differing_orders(connection, projection.name, projection.table_columns, where)
        wrong = [order_id for order_id in differing if order_id not in left_out]
        ahead = ahead_of_log(connection, projection.name, wrong)
    return Share(None, counted.events, refused + [_finding(projection.name, each, ahead) for each in wrong])


def _left_out(connection: Connection, projection: Projection[Any], where: sql.Composable) -> set[UUID]:
    rows = connection.execute(
        sql.SQL(
            "SELECT order_id FROM quarantine WHERE projection = {name} AND {where} "
            "UNION SELECT order_id FROM {live} WHERE {where} AND fold_version IS NOT NULL"
        ).format(live=sql.Identifier(projection.name), where=where, name=projection.name)
    )
    return {order_id for (order_id,) in rows}


def _finding(table: str, order_id: UUID, ahead: dict[UUID, tuple[int, int]]) -> Finding:
    if order_id not in ahead:
        return Finding(str(order_id), f"its rows in {table} differ from a fold of its events")
    held, there = ahead[order_id]
    what = f"its row in {table} holds version {held}, and the log has "
    return Finding(str(order_id), what + (f"only {there}" if there else "no event of it"), "ahead_of_log")


def _copy(connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
    kept = (each for outcome in outcomes for each in outcome.kept)
    return copy_rows(connection, target.table, target.columns, kept, target.layout.lines)


def _batches(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    outcomes = iter(outcomes)
    while batch := list(islice(outcomes, _BATCH)):
        yield batch


class _Counted:
    """Counts events as they pass."""

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, events: Iterator[FoldEvent]) -> Iterator[FoldEvent]:
        for event in events:
            self.events += 1
            yield event
