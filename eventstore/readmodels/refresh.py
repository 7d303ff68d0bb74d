"""Refresh a projection: fold the events between its watermark and the horizon."""

import time
from typing import Any
from uuid import UUID

import msgspec

from eventstore.log.connection import Connection
from eventstore.log.feed import has_events_after, horizon, publish_horizon
from eventstore.readmodels.events import events_between
from eventstore.readmodels.fold import fold_into
from eventstore.readmodels.lag import Lag, lag_of
from eventstore.readmodels.projection import ORDERS, Projection
from eventstore.readmodels.watermark import advance, lock, register, watermark

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
    events = rows = refolded = 0
    if has_news(connection, projection):
        publish_horizon(connection)
        until = horizon(connection)
        while True:
            with connection.transaction():
                after = lock(connection, projection)
                chunk = events_between(connection, after, until, _CHUNK)
                if chunk:
                    folded = fold_into(connection, projection, projection.name, chunk)
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
