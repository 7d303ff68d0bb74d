"""What must hold of the log itself. Each share is one statement, one snapshot: writers are no matter."""

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from psycopg import sql

from eventstore.engine.invariants.ranges import among, between, next_orders
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows

_LOG = "order_events"
_SQL = Path(__file__).parent / "sql"
_NAMED = 100


def log_proofs() -> tuple[Proof, ...]:
    return (
        _of_orders("versions", "versions", "The versions of each order are 1, 2, 3 … without a gap."),
        _of_orders("ids", "id_order", "The ids of an order's events rise with their versions."),
        _of_orders("identities", "identity_twice", "No two events of an order have the same identity."),
        _of_all("unique_ids", "id_twice", "No two events have the same id."),
        Proof(
            name="horizon",
            description="No event lies above what the clock and the horizon allow.",
            prove=_prove_horizon,
            again=lambda connection, _: _beyond(connection),
            total=lambda _: 0,
            kind="beyond_clock",
            table=_LOG,
            is_cheap=True,
        ),
    )


def _of_orders(name: str, kind: str, description: str) -> Proof:
    """The file of this name selects (order_id, what is wrong) of the orders ``where``."""
    query = (_SQL / f"{name}.sql").read_text(encoding="utf-8")

    def find(connection: Connection, where: sql.Composable) -> list[Finding]:
        rows = connection.execute(sql.SQL(query).format(where=where))
        return [Finding(str(order_id), what) for order_id, what in rows]

    def prove(connection: Connection, after: str | None, events: int) -> Share:
        first, last = next_orders(connection, _LOG, after, events)
        where = between(first, last)
        return Share(None if last is None else str(last), _count(connection, where), find(connection, where))

    return Proof(
        name=name,
        description=description,
        prove=prove,
        again=lambda connection, orders: find(connection, among(orders)),
        total=_events,
        kind=kind,
        table=_LOG,
        is_cheap=True,
    )


def _count(connection: Connection, where: sql.Composable) -> int:
    (events,) = connection.execute(
        sql.SQL("SELECT count(*) FROM order_events WHERE {}").format(where)
    ).fetchone() or (0,)
    return int(events)


def _of_all(name: str, kind: str, description: str) -> Proof:
    query = (_SQL / f"{name}.sql").read_text(encoding="utf-8")

    def prove(connection: Connection, after: str | None, events: int) -> Share:
        first = UUID(int=0) if after is None else UUID(after)
        row = connection.execute(
            "SELECT id FROM order_events WHERE id >= %s ORDER BY id OFFSET %s LIMIT 1", (first, events)
        ).fetchone()
        until = row[0] if row and row[0] != first else None  # all of one id: there is no end to them
        return Share(None if until is None else str(until), *find(connection, first, until))

    def find(connection: Connection, first: UUID, until: UUID | None) -> tuple[int, list[Finding]]:
        rows = connection.execute(query, {"first": first, "until": until}).fetchall()
        (events,) = (number for id_, _, number in rows if id_ is None)
        return events, [Finding(str(id_), what) for id_, what, _ in rows if id_ is not None]

    def again(connection: Connection, ids: Sequence[str]) -> list[Finding]:
        return [each for one in map(UUID, ids) for each in find(connection, one, one)[1]]

    return Proof(
        name=name,
        description=description,
        prove=prove,
        again=again,
        total=_events,
        kind=kind,
        table=_LOG,
        is_cheap=True,
    )


def _prove_horizon(connection: Connection, _: str | None, __: int) -> Share:
    return Share(None, 0, _beyond(connection))


def _beyond(connection: Connection) -> list[Finding]:
    rows = connection.execute(
        "SELECT id, order_id, version FROM order_events WHERE id > (SELECT feed_ceiling()) "
        "ORDER BY id LIMIT %s",
        (_NAMED,),
    )
    return [
        Finding(
            str(id_),
            f"version {version} of order {order_id} is recorded ahead of the clock, and readers wait for it: "
            "see whether the server's clock is right",
        )
        for id_, order_id, version in rows
    ]


def _events(connection: Connection) -> int:
    return count_rows(connection, _LOG).rows
