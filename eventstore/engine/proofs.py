"""What the engine proves of read models: that their rows are what a fold of the log says."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from psycopg import sql

from eventstore.engine.domain import Domain
from eventstore.engine.history.overlaps import overlaps
from eventstore.engine.projection import Outcome, Projection, Target
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.engine.reading import stream_events
from eventstore.engine.refresh import refresh
from eventstore.engine.standing import standing
from eventstore.engine.writing import copy_rows, write_apart
from eventstore.kernel.folding import advance
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection, one_moment, sibling
from eventstore.log.counting import count_rows

_BEGINNING = UUID(int=0)
_BATCH = 2_000
OVERLAPS = "{}_overlaps"


def proofs_of(domain: Domain[Any]) -> tuple[Proof, ...]:
    """Everything that is proven of a store with this domain."""
    return (
        *map(fold_proof, domain.projections),
        overlaps_proof(domain.history),
        *domain.proofs,
    )


def fold_proof(projection: Projection[Any]) -> Proof:
    """Left out are orders in quarantine, and those whose rows say that other rules folded them; where this
    code does not have the rules of the table, all of them.
    """
    return Proof(
        name=projection.name,
        description=f"Each row of {projection.name} is what a fold of its order's events says.",
        prove=partial(_prove_fold, projection),
        again=partial(_prove_fold_of, projection),
        total=lambda connection: count_rows(connection, "order_events").rows,
    )


def overlaps_proof(history: Projection[Any]) -> Proof:
    """Of the history of an order no two rows say different things of one moment."""
    return Proof(
        name=OVERLAPS.format(history.name),
        description=f"{history.name} says one thing of each moment, as known at each time.",
        prove=_prove_overlaps,
        again=_prove_overlaps_of,
        total=lambda connection: count_rows(connection, history.name).rows,
    )


def _prove_fold(projection: Projection[Any], connection: Connection, after: str | None, events: int) -> Share:
    first, last = _share_of_orders(connection, "order_events", after, events)
    looked_at, findings = _compare(connection, projection, _between(first, last))
    return Share(None if last is None else str(last), looked_at, findings)


def _prove_fold_of(
    projection: Projection[Any], connection: Connection, orders: Sequence[str]
) -> list[Finding]:
    return _compare(connection, projection, _among(orders))[1]


def _prove_overlaps(connection: Connection, after: str | None, events: int) -> Share:
    first, last = _share_of_orders(connection, "order_history", after, events)
    where = _between(first, last)
    (rows,) = connection.execute(
        sql.SQL("SELECT count(*) FROM order_history WHERE {}").format(where)
    ).fetchone() or (0,)
    return Share(None if last is None else str(last), rows, _overlapping(connection, where))


def _prove_overlaps_of(connection: Connection, orders: Sequence[str]) -> list[Finding]:
    return _overlapping(connection, _among(orders))


def _overlapping(connection: Connection, where: sql.Composable) -> list[Finding]:
    return [
        Finding(str(found.order_id), f"two rows hold at {found.valid_from}: replay order_history")
        for found in overlaps(connection, where)
    ]


def _share_of_orders(
    connection: Connection, table: str, after: str | None, rows: int
) -> tuple[UUID, UUID | None]:
    """The orders after a position that have about so many rows: after the first, up to the last of them.

    In the order of their ids, which an index has. None for the last: all that are left.
    """
    first = _BEGINNING if after is None else UUID(after)
    row = connection.execute(
        sql.SQL("SELECT order_id FROM {} WHERE order_id > %s ORDER BY order_id OFFSET %s LIMIT 1").format(
            sql.Identifier(table)
        ),
        (first, rows - 1),
    ).fetchone()
    return first, row[0] if row else None


def _between(first: UUID, last: UUID | None) -> sql.Composed:
    where = sql.SQL("order_id > {}").format(first)
    return where if last is None else where + sql.SQL(" AND order_id <= {}").format(last)


def _among(orders: Sequence[str]) -> sql.Composed:
    return sql.SQL("order_id = ANY({})").format([UUID(order) for order in orders])


def _compare(
    connection: Connection, projection: Projection[Any], where: sql.Composable
) -> tuple[int, list[Finding]]:
    """Fold orders up to the watermark, beside the live table; returns how many events that were, and which
    orders' rows differ.
    """
    refresh(connection, projection)  # which folds those again whose event types this code has learned
    with one_moment(connection):
        live = standing(connection, projection.name)
        folding = projection.folding(live.fold_version) if live else None
        if live is None or folding is None:
            return 0, []
        target = projection.target(f"{projection.name}_proven", folding)
        names = {
            "live": sql.Identifier(projection.name),
            "proven": sql.Identifier(target.table),
            "where": where,
            "name": projection.name,
            "columns": sql.SQL(", ").join(
                sql.Identifier(column) for column in projection.table_columns if column != "fold_version"
            ),
        }
        connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE IF NOT EXISTS {proven} (LIKE {live}) ON COMMIT DELETE ROWS"
            ).format(**names)
        )
        left_out = {
            order_id
            for (order_id,) in connection.execute(
                sql.SQL(
                    "SELECT order_id FROM quarantine WHERE projection = {name} AND {where} "
                    "UNION SELECT order_id FROM {live} WHERE {where} AND fold_version IS NOT NULL"
                ).format(**names)
            )
        }
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
        differing = connection.execute(
            sql.SQL(
                "WITH live AS (SELECT {columns} FROM {live} WHERE {where}), "
                "proven AS (SELECT {columns} FROM {proven}) "
                "SELECT DISTINCT order_id FROM ((TABLE live EXCEPT ALL TABLE proven) UNION ALL "
                "(TABLE proven EXCEPT ALL TABLE live)) differing ORDER BY order_id"
            ).format(**names)
        ).fetchall()
    what = f"its rows in {projection.name} differ from a fold of its events"
    left_out |= {UUID(finding.subject) for finding in refused}
    return counted.events, refused + [
        Finding(str(order_id), what) for (order_id,) in differing if order_id not in left_out
    ]


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
