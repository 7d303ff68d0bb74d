"""The orders that new code may fold otherwise: those in quarantine, and those with events it has learned."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import sql

from eventstore.engine.projection import Target
from eventstore.engine.quarantine import to_be_tried
from eventstore.log.connection import Connection


def orders_to_heal(
    connection: Connection, target: Target, tables: Sequence[str] = ()
) -> tuple[list[UUID], list[UUID]]:
    """The orders in quarantine whose turn it is, and others that list an event as unknown which the rules
    know by now. ``tables`` hold states of the target, by default its own one.
    """
    tried = to_be_tried(connection, target.table)
    if "unknown_events" not in target.projection.columns:
        return tried, []
    learned: set[UUID] = set()
    for table in tables or (target.table,):
        learned |= with_learned_events(connection, target, table)
    return tried, list(learned.difference(tried))


def with_learned_events(connection: Connection, target: Target, table: str) -> set[UUID]:
    """The orders in a table that list an event as unknown which the rules know by now."""
    if "unknown_events" not in target.projection.columns:
        return set()
    name = sql.Identifier(table)
    # A table without statistics yet is thought to be full of unknown events, and would be read as a whole.
    connection.execute("SET LOCAL enable_seqscan = off")
    unknown = connection.execute(
        sql.SQL(
            "SELECT DISTINCT name FROM {}, unnest(unknown_events) AS name WHERE unknown_events <> '{{}}'"
        ).format(name)
    ).fetchall()
    connection.execute("SET LOCAL enable_seqscan TO DEFAULT")
    learned = [name for (name,) in unknown if target.folding.knows(name)]
    if not learned:
        return set()
    rows = connection.execute(
        sql.SQL("SELECT order_id FROM {} WHERE unknown_events <> '{{}}' AND unknown_events && %s").format(
            name
        ),
        (learned,),
    )
    return {order_id for (order_id,) in rows}
