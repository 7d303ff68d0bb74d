"""Orders with an event that the fold fails on: set aside with the error, while the others go on.

The row of such an order stays as it was. Every refresh tries again, so a fix of the rules is enough.
"""

from typing import NamedTuple
from uuid import UUID

from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import Connection


class Poisoned(NamedTuple):
    order_id: UUID
    error: str


def poisoned_by(event: FoldEvent, error: Exception) -> Poisoned:
    """The order of an event that the rules fail on."""
    what = f"version {event.version}, {event.event_type}: {type(error).__name__}: {error}"
    return Poisoned(event.order_id, what)


def quarantine(connection: Connection, table: str, poisoned: list[Poisoned]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO quarantine (projection, order_id, error) VALUES (%s, %s, %s) "
            "ON CONFLICT (projection, order_id) DO UPDATE SET error = excluded.error",
            [(table, order_id, error) for order_id, error in poisoned],
        )


def quarantined(connection: Connection, table: str) -> set[UUID]:
    """The orders in quarantine, of which there are few."""
    rows = connection.execute("SELECT order_id FROM quarantine WHERE projection = %s", (table,))
    return {order_id for (order_id,) in rows}


def release(connection: Connection, table: str, order_ids: list[UUID]) -> None:
    connection.execute(
        "DELETE FROM quarantine WHERE projection = %s AND order_id = ANY(%s)", (table, order_ids)
    )
