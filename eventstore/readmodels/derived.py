"""Tables downstream of `orders`, each brought up to date by one statement over it."""

import time
from typing import LiteralString
from uuid import UUID

import msgspec

from eventstore.log.connection import Connection
from eventstore.log.feed import BEGINNING
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.watermark import register


class Derived(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh of a derived table did."""

    written: int  #: rows added or changed
    gone: int  #: rows deleted
    rows: int  #: rows that there are now
    watermark: UUID  #: of `orders` as it was read
    seconds: float


def refresh_derived(
    connection: Connection,
    table: str,
    statement: LiteralString,
    *,
    sums: str | None = None,
    rebuild: bool = False,
) -> Derived:
    """Run ``statement``, which makes ``table`` what it must be and returns (written, gone, watermark).

    Being one statement it sees `orders` and its watermark at one moment; readers see all of what it does or
    nothing. As ``after`` it gets the watermark of the time before, with ``rebuild`` the beginning of the log
    and empty tables: its own and that of the ``sums`` that it goes on from. Two refreshes at once take turns.
    """
    started = time.monotonic()
    register(connection, ORDERS)
    connection.execute(
        "INSERT INTO projections (name, fold_version) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (table, ORDERS.fold_version),
    )
    with connection.transaction():
        (after,) = connection.execute(
            "SELECT watermark FROM projections WHERE name = %s FOR UPDATE", (table,)
        ).fetchone() or (BEGINNING,)
        if rebuild:
            for name in filter(None, (table, sums)):
                connection.execute(f"DELETE FROM {name}")
            after = BEGINNING
        written, gone, watermark = connection.execute(statement, {"after": after}).fetchone() or (0, 0, after)
        connection.execute(
            "UPDATE projections SET watermark = %s, updated_at = now() WHERE name = %s", (watermark, table)
        )
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
    return Derived(
        written=written, gone=gone, rows=rows, watermark=watermark, seconds=time.monotonic() - started
    )
