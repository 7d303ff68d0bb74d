"""What must hold of a history: of no moment does it say two things."""

from typing import Any

from psycopg import sql

from eventstore.engine.history.overlaps import overlaps
from eventstore.engine.invariants.ranges import among, between, next_orders, some_orders
from eventstore.engine.projection import Projection
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows

OVERLAPS = "{}_overlaps"
_HISTORY = "order_history"  # the function that looks for overlaps reads this one


def overlaps_proof(history: Projection[Any]) -> Proof:
    """Of the history of an order no two rows say different things of one moment."""
    return Proof(
        name=OVERLAPS.format(history.name),
        description=f"{history.name} says one thing of each moment, as known at each time.",
        prove=_prove,
        again=lambda connection, orders: _overlapping(connection, among(orders)),
        total=lambda connection: count_rows(connection, history.name).rows,
        kind="overlap",
        table=history.name,
        sample=_sample,
    )


def _prove(connection: Connection, after: str | None, rows: int) -> Share:
    first, last = next_orders(connection, _HISTORY, after, rows)
    return _looked_at(connection, between(first, last))._replace(until=None if last is None else str(last))


def _sample(connection: Connection, rows: int) -> Share:
    return _looked_at(connection, among(some_orders(connection, _HISTORY, rows)))


def _looked_at(connection: Connection, where: sql.Composable) -> Share:
    (rows,) = connection.execute(
        sql.SQL("SELECT count(*) FROM order_history WHERE {}").format(where)
    ).fetchone() or (0,)
    return Share(None, rows, _overlapping(connection, where))


def _overlapping(connection: Connection, where: sql.Composable) -> list[Finding]:
    return [
        Finding(str(found.order_id), f"two rows hold at {found.valid_from}: run `eventstore rebuild`")
        for found in overlaps(connection, where)
    ]
