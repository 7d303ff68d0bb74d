"""`order_history`: the states of each order along business time, as known at each recorded time.

Refreshed, replayed and promoted like `orders`, with a watermark of its own.
"""

from collections.abc import Callable
from typing import Any

from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.readmodels.history_fold import learn_into, learn_orders, replace_histories
from eventstore.readmodels.history_rows import history_row, row_after
from eventstore.readmodels.projection import ORDERS, Layout, Projection
from eventstore.readmodels.promote import Promoted, promote
from eventstore.readmodels.refresh import Refreshed, refresh
from eventstore.readmodels.replay import BucketReplayed, replay_bucket
from eventstore.readmodels.rows import table_column_list


def refresh_history(connection: Connection) -> Refreshed:
    """Bring `order_history` up to everything that was committed before the call.

    `refolded` counts the orders with late events: all that such an order was thought to be after the late
    event's business time is superseded, so an event that is late by n events costs n rows.
    """
    return refresh(connection, HISTORY)


def replay_history_bucket(
    connection: Connection, bucket: int, on_progress: Callable[[int], None] | None = None
) -> BucketReplayed:
    """Rebuild one bucket of the history from the log, beside the live table."""
    return replay_bucket(connection, bucket, HISTORY, on_progress)


def promote_history(connection: Connection, *, by_hand: bool = False) -> Promoted | None:
    """Make a replayed history the live one, in one transaction; None where not all of its buckets stand.

    Counts rows. Under unchanged rules a replay yields the rows that are there: none added, changed or gone.
    """
    return promote(connection, HISTORY, by_hand=by_hand)


def _apply_difference(connection: Connection, projection: Projection[Any]) -> tuple[int, int, int]:
    """Make the live rows equal to the candidate's, touching only those that differ.

    A row is the same when it began in both times with the same event.
    """
    columns = projection.table_columns
    names = {
        "live": sql.Identifier(projection.name),
        "candidate": sql.Identifier(projection.candidate),
        "columns": table_column_list(projection),
        "live_columns": sql.SQL(", ").join(sql.Identifier("h", column) for column in columns),
        "new_columns": sql.SQL(", ").join(sql.Identifier("c", column) for column in columns),
        "same": sql.SQL(
            "c.order_id = h.order_id AND c.recorded_from = h.recorded_from AND c.valid_from = h.valid_from"
        ),
    }
    gone = connection.execute(
        sql.SQL("DELETE FROM {live} h WHERE NOT EXISTS (SELECT FROM {candidate} c WHERE {same})").format(
            **names
        )
    ).rowcount
    changed = connection.execute(
        sql.SQL(
            "DELETE FROM {live} h USING {candidate} c "
            "WHERE {same} AND ({live_columns}) IS DISTINCT FROM ({new_columns})"
        ).format(**names)
    ).rowcount
    written = connection.execute(
        sql.SQL(
            "INSERT INTO {live} ({columns}) SELECT {new_columns} FROM {candidate} c "
            "WHERE NOT EXISTS (SELECT FROM {live} h WHERE {same})"
        ).format(**names)
    ).rowcount
    return written - changed, changed, gone


HISTORY = Projection(
    name="order_history",
    description="Every state that an order was in: when it was so, and from when to when we knew it so.",
    initial=ORDERS.initial,
    foldings=ORDERS.foldings,
    layout=Layout(
        columns=("valid_from", "valid_to", "recorded_from", "recorded_to"),
        fold_into=learn_into,
        outcomes=learn_orders,
        replace=replace_histories,
        row=history_row,
        probe=row_after,
        apply_difference=_apply_difference,
    ),
)
