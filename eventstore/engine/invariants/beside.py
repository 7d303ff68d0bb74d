"""Rows that were made anew, beside those of a table: which orders have others?"""

from collections.abc import Iterable
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection


def room_beside(connection: Connection, table: str) -> str:
    """A temporary table of the same columns, empty; its name."""
    proven = f"{table}_proven"
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(
            sql.Identifier(proven), sql.Identifier(table)
        )
    )
    return proven


def differing_orders(
    connection: Connection, table: str, columns: Iterable[str], where: sql.Composable
) -> list[UUID]:
    """The orders, of those meant by ``where``, whose rows in the table are not the ones beside it."""
    rows = connection.execute(
        sql.SQL(
            "WITH live AS (SELECT {columns} FROM {live} WHERE {where}), "
            "proven AS (SELECT {columns} FROM {proven} WHERE {where}) "
            "SELECT DISTINCT order_id FROM ((TABLE live EXCEPT ALL TABLE proven) UNION ALL "
            "(TABLE proven EXCEPT ALL TABLE live)) differing ORDER BY order_id"
        ).format(
            live=sql.Identifier(table),
            proven=sql.Identifier(f"{table}_proven"),
            where=where,
            columns=sql.SQL(", ").join(
                # By which rules it was folded is another question.
                sql.Identifier(column)
                for column in columns
                if column != "fold_version"
            ),
        )
    )
    return [order_id for (order_id,) in rows]


def ahead_of_log(connection: Connection, table: str, orders: list[UUID]) -> dict[UUID, tuple[int, int]]:
    """Those whose rows hold a version that the log does not have, with that and the last that it has."""
    rows = connection.execute(
        sql.SQL(
            "SELECT order_id, held, there FROM (SELECT order_id, max(version) AS held, "
            "(SELECT coalesce(max(e.version), 0) FROM order_events e WHERE e.order_id = o.order_id) AS there "
            "FROM {} o WHERE order_id = ANY(%s) GROUP BY order_id) AS orders WHERE held > there"
        ).format(sql.Identifier(table)),
        (orders,),
    )
    return {order_id: (held, there) for order_id, held, there in rows}
