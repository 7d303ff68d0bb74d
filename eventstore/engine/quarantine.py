"""Orders with an event that cannot be folded or written: set aside with the reason, while the others go on.

Their rows hold the events before that one, in the order of the fold. Every refresh tries again, so a fix of
the rules is enough.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from eventstore.kernel.folding import Failure
from eventstore.log.connection import Connection

_TRIED_AT_ONCE = 500


class SetAside(msgspec.Struct, frozen=True, kw_only=True):
    """An order of which tables show only the events before one that fails."""

    order_id: UUID
    version: int | None  #: of the event that fails; None until the next refresh tries again
    event_type: str | None
    error: str
    since: datetime
    tables: list[str]  #: those that stop at this event


class Quarantine(msgspec.Struct, frozen=True, kw_only=True):
    orders: int  #: all that are set aside
    since: datetime | None  #: the first of them
    first: list[SetAside]  #: the oldest first


def read_quarantine(connection: Connection, names: Iterable[str], limit: int = 50) -> Quarantine:
    """The orders that these tables have set aside; those of candidates are no part of it."""
    tables = list(names)
    orders, since = connection.execute(
        "SELECT count(DISTINCT order_id), min(since) FROM quarantine WHERE projection = ANY(%s)", (tables,)
    ).fetchone() or (0, None)
    rows = connection.execute(
        "SELECT order_id, version, event_type, error, min(since), array_agg(projection ORDER BY projection) "
        "FROM quarantine WHERE projection = ANY(%s) GROUP BY order_id, version, event_type, error "
        "ORDER BY min(since), order_id LIMIT %s",
        (tables, limit),
    ).fetchall()
    fields = SetAside.__struct_fields__
    return Quarantine(
        orders=orders, since=since, first=[SetAside(**dict(zip(fields, row, strict=True))) for row in rows]
    )


def set_aside_since(connection: Connection, table: str, moment: datetime) -> int:
    """How many orders were set aside since then."""
    (number,) = connection.execute(
        "SELECT count(*) FROM quarantine WHERE projection = %s AND since >= %s", (table, moment)
    ).fetchone() or (0,)
    return int(number)


def quarantined(connection: Connection, table: str) -> set[UUID]:
    """The orders in quarantine, of which there are few."""
    rows = connection.execute("SELECT order_id FROM quarantine WHERE projection = %s", (table,))
    return {order_id for (order_id,) in rows}


def to_be_tried(connection: Connection, table: str) -> list[UUID]:
    """The orders in quarantine whose turn it is: all, or those that were tried least recently."""
    rows = connection.execute(
        "SELECT order_id FROM quarantine WHERE projection = %s ORDER BY tried_at NULLS FIRST LIMIT %s",
        (table, _TRIED_AT_ONCE),
    ).fetchall()
    if len(rows) == _TRIED_AT_ONCE:
        connection.execute(
            "UPDATE quarantine SET tried_at = clock_timestamp() WHERE projection = %s AND order_id = ANY(%s)",
            (table, [order_id for (order_id,) in rows]),
        )
    return [order_id for (order_id,) in rows]


def stops(connection: Connection, table: str, order_ids: list[UUID]) -> dict[UUID, tuple[int, int]]:
    """Of those that are in quarantine, the place in the fold, (business time, version), that they stop at."""
    rows = connection.execute(
        "SELECT order_id, failed_at, version FROM quarantine WHERE projection = %s AND order_id = ANY(%s)",
        (table, order_ids),
    )
    return {order_id: (failed_at, version) for order_id, failed_at, version in rows}


def settle(connection: Connection, table: str, order_ids: Iterable[UUID], failures: list[Failure]) -> None:
    """Of the given orders exactly those with a failure are in quarantine from now on."""
    healed = list(set(order_ids) - {failure.order_id for failure in failures})
    if healed:
        connection.execute(
            "DELETE FROM quarantine WHERE projection = %s AND order_id = ANY(%s)", (table, healed)
        )
    quarantine(connection, table, failures)


def quarantine(connection: Connection, table: str, failures: list[Failure]) -> None:
    if not failures:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO quarantine AS q (projection, order_id, version, event_type, failed_at, error) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (projection, order_id) DO UPDATE "
            "SET version = excluded.version, event_type = excluded.event_type, "
            "failed_at = excluded.failed_at, error = excluded.error, tried_at = excluded.tried_at "
            "WHERE (q.version, q.failed_at, q.error) IS DISTINCT FROM "
            "(excluded.version, excluded.failed_at, excluded.error)",
            [
                (table, failure.order_id, failure.version, failure.event_type, failure.at, str(failure))
                for failure in failures
            ],
        )
