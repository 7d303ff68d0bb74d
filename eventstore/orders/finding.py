"""Find orders in the table `orders`, as of its last refresh: by a piece of the id, by what they are like."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from psycopg.rows import class_row

from eventstore.log.connection import Connection

_DIGITS = 32
_COLUMNS = "order_id, customer_id, status, amount, currency, version, last_event_at, anomalies"


class FoundOrder(msgspec.Struct, frozen=True, kw_only=True):
    order_id: UUID
    customer_id: UUID | None
    status: str
    amount: Decimal | None
    currency: str | None
    version: int
    last_event_at: datetime
    anomalies: list[str]


def find_orders(
    connection: Connection,
    *,
    piece: str | None = None,
    status: str | None = None,
    customer_id: UUID | None = None,
    since: datetime | None = None,
    anomalies: Sequence[str] = (),
    odd: bool = False,
    limit: int = 20,
) -> list[FoundOrder]:
    """The orders that all of this is true of, the one with the latest event (business time) first.

    ``piece`` is the beginning of an id or, where no id begins so, something within one; with or without
    dashes. ``anomalies``: orders with one of these; ``odd``: with any. Raises ValueError for a piece that no
    id can hold.
    """
    conditions = {
        "status": "status = %(status)s" if status is not None else "",
        "customer": "customer_id = %(customer_id)s" if customer_id is not None else "",
        "since": "last_event_at >= %(since)s" if since is not None else "",
        "anomalies": "anomalies && %(anomalies)s::text[]" if anomalies else "",
        "odd": "anomalies <> '{}'" if odd else "",
    }
    given: dict[str, object] = {
        "status": status,
        "customer_id": customer_id,
        "since": since,
        "anomalies": list(anomalies),
        "limit": limit,
    }
    where = [condition for condition in conditions.values() if condition]
    if piece is None:
        return _select(connection, where, given)
    digits = _digits(piece)
    lowest, highest = UUID(digits.ljust(_DIGITS, "0")), UUID(digits.ljust(_DIGITS, "f"))
    begins = _select(
        connection,
        [*where, "order_id BETWEEN %(lowest)s AND %(highest)s"],
        given | {"lowest": lowest, "highest": highest},
    )
    if begins or len(digits) == _DIGITS:
        return begins
    within = "replace(order_id::text, '-', '') LIKE '%%' || %(digits)s || '%%'"
    return _select(connection, [*where, within], given | {"digits": digits})


def statuses(connection: Connection) -> list[str]:
    """Those that orders have. Reads them all, as a search without an answer did."""
    found = connection.execute("SELECT DISTINCT status FROM orders ORDER BY status")
    return [status for (status,) in found]


def anomaly_names(connection: Connection) -> list[str]:
    """Those that orders have. Reads them all, as a search without an answer did."""
    found = connection.execute("SELECT DISTINCT unnest(anomalies) AS name FROM orders ORDER BY name")
    return [name for (name,) in found]


def _digits(piece: str) -> str:
    digits = piece.strip().replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{1,32}", digits):
        raise ValueError(
            "a piece of an order id is made of up to 32 digits 0-9 and a-f, with or without dashes"
        )
    return digits


def _select(connection: Connection, where: Sequence[str], given: Mapping[str, object]) -> list[FoundOrder]:
    conditions = f"WHERE {' AND '.join(where)} " if where else ""
    with connection.cursor(row_factory=class_row(FoundOrder)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM orders {conditions}"
            "ORDER BY last_event_at DESC, order_id LIMIT %(limit)s",
            given,
        ).fetchall()
