"""Refresh a projection: fold the events between its watermark and the horizon."""

import time
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.log.feed import has_events_after, horizon, publish_horizon
from eventstore.readmodels.events import events_between
from eventstore.readmodels.fold import Target, refold
from eventstore.readmodels.lag import Lag, lag_of
from eventstore.readmodels.projection import ORDERS, Projection
from eventstore.readmodels.quarantine import to_be_tried
from eventstore.readmodels.watermark import Standing, advance, lock, register, watermark

_CHUNK = 20_000


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh did."""

    events: int  #: events folded
    rows: int  #: rows written
    refolded: int  #: orders folded from their first event, because of late events
    watermark: UUID
    lag: Lag  #: what is left, for example events of appends that are still open
    seconds: float


def has_news(connection: Connection, projection: Projection[Any] = ORDERS) -> bool:
    """Whether the log holds events above the projection's watermark."""
    return has_events_after(connection, watermark(connection, projection))


def refresh(connection: Connection, projection: Projection[Any] = ORDERS) -> Refreshed:
    """Fold everything that was committed before the call; cost follows the number of new events.

    Commits chunk by chunk, rows and watermark together. Of two refreshes at once the second waits its turn
    and finds less to do.
    """
    started = time.monotonic()
    register(connection, projection)
    events = 0
    rows = refolded = _heal(connection, projection)
    if has_news(connection, projection):
        publish_horizon(connection)
        until = horizon(connection)
        while True:
            with connection.transaction():
                standing = lock(connection, projection)
                chunk = events_between(connection, standing.watermark, until, _CHUNK)
                if chunk:
                    target = live(projection, standing)
                    folded = target.layout.fold_into(connection, target, chunk)
                    advance(connection, projection, chunk[-1].id)
                    events, rows = events + len(chunk), rows + folded.rows
                    refolded += folded.refolded
            if len(chunk) < _CHUNK:
                break
    return Refreshed(
        events=events,
        rows=rows,
        refolded=refolded,
        watermark=watermark(connection, projection),
        lag=lag_of(connection, watermark(connection, projection)),
        seconds=time.monotonic() - started,
    )


def live(projection: Projection[Any], standing: Standing) -> Target:
    """The live table, to be folded by its own rules for as long as this code has them.

    New rules take over at promotion, for all rows at once. Where the code has lost the table's rules, an
    order with a new event is folded again by the current ones and its row says so in ``fold_version``.
    """
    folding = projection.folding(standing.fold_version) or projection.current
    mark = None if folding.version == standing.fold_version else folding.version
    return Target(projection, projection.name, folding, mark)


def _heal(connection: Connection, projection: Projection[Any]) -> int:
    """Fold the orders again that were set aside, or that hold events whose type has been learned since."""
    with connection.transaction():
        standing = lock(connection, projection)
        target = live(projection, standing)
        tried = to_be_tried(connection, projection.name)
        rows = refold(connection, target, tried, standing.watermark, only_changed=True)
        if "unknown_events" in projection.columns:
            learned = _with_learned_events(connection, target).difference(tried)
            rows += refold(connection, target, list(learned), standing.watermark)
        return rows


def _with_learned_events(connection: Connection, target: Target) -> set[UUID]:
    table = sql.Identifier(target.table)
    # A table without statistics yet is thought to be full of unknown events, and would be read as a whole.
    connection.execute("SET LOCAL enable_seqscan = off")
    unknown = connection.execute(
        sql.SQL(
            "SELECT DISTINCT name FROM {}, unnest(unknown_events) AS name WHERE unknown_events <> '{{}}'"
        ).format(table)
    ).fetchall()
    connection.execute("SET LOCAL enable_seqscan TO DEFAULT")
    learned = [name for (name,) in unknown if target.folding.knows(name)]
    if not learned:
        return set()
    rows = connection.execute(
        sql.SQL("SELECT order_id FROM {} WHERE unknown_events <> '{{}}' AND unknown_events && %s").format(
            table
        ),
        (learned,),
    )
    return {order_id for (order_id,) in rows}
