"""Which orders a share of a proof looks at: the next ones by their ids, some here and there, or these."""

import random
from collections.abc import Sequence
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection

BEGINNING = UUID(int=0)
#: Of a sample a third is found by ids of events, a third by ids of orders in the log, a third in the table.
_EVENTS_OF_AN_ORDER = 4
_MOST_ORDERS = 5_000


def next_orders(connection: Connection, table: str, after: str | None, rows: int) -> tuple[UUID, UUID | None]:
    """The orders after a position that have about so many rows: after the first, up to the last of them.

    In the order of their ids, which an index has. None for the last: all that are left.
    """
    first = BEGINNING if after is None else UUID(after)
    row = connection.execute(
        sql.SQL("SELECT order_id FROM {} WHERE order_id > %s ORDER BY order_id OFFSET %s LIMIT 1").format(
            sql.Identifier(table)
        ),
        (first, rows - 1),
    ).fetchone()
    return first, row[0] if row else None


def between(first: UUID, last: UUID | None) -> sql.Composed:
    """Those after the first up to the last."""
    # The id of all zeros is one, too.
    where = sql.SQL("order_id > {}" if first != BEGINNING else "order_id >= {}").format(first)
    return where if last is None else where + sql.SQL(" AND order_id <= {}").format(last)


def among(orders: Sequence[str]) -> sql.Composed:
    """These."""
    return sql.SQL("order_id = ANY({})").format([UUID(order) for order in orders])


def some_orders(connection: Connection, table: str, events: int) -> list[str]:
    """Orders that were picked at random, of the log and of a table that is made from it."""
    each = max(1, min(_MOST_ORDERS, events // _EVENTS_OF_AN_ORDER) // 3)
    found: set[UUID] = set()
    for where, key in (("order_events", "id"), ("order_events", "order_id"), (table, "order_id")):
        found |= _picked(connection, where, key, each)
    return sorted(map(str, found))


def _picked(connection: Connection, table: str, key: str, number: int) -> set[UUID]:
    """The orders of the rows behind some places in an index, and of the first and last row, which lie behind
    hardly any.
    """
    names = {"table": sql.Identifier(table), "key": sql.Identifier(key)}
    ends = [
        row
        for direction in ("ASC", "DESC")
        for row in connection.execute(
            sql.SQL("SELECT {key}, order_id FROM {table} ORDER BY {key} " + direction + " LIMIT 1").format(
                **names
            )
        )
    ]
    if not ends:
        return set()
    first, last = (key.int for key, _ in ends)
    places = [UUID(int=random.randint(first, last)) for _ in range(number)]  # noqa: S311
    rows = connection.execute(
        sql.SQL(
            "SELECT DISTINCT found.order_id FROM unnest(%s::uuid[]) AS place CROSS JOIN LATERAL "
            "(SELECT order_id FROM {table} WHERE {key} >= place ORDER BY {key} LIMIT 1) found"
        ).format(**names),
        (places,),
    )
    return {order_id for (order_id,) in rows} | {order_id for _, order_id in ends}
