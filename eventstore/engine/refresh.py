"""Refresh a projection: fold the events between its watermark and the horizon."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Self
from uuid import UUID

import msgspec
import psycopg

from eventstore.engine.fold import refold
from eventstore.engine.garbage import rarely_collected
from eventstore.engine.healing import orders_to_heal
from eventstore.engine.projection import Projection, Target
from eventstore.engine.quarantine import set_aside_since
from eventstore.engine.reading import events_between
from eventstore.engine.standing import (
    Lag,
    Standing,
    advance,
    has_news,
    lag_of,
    lock_to_go_on,
    register,
    watermark,
)
from eventstore.kernel.codec import Codec
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection, sibling
from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.feed import horizon, publish_horizon

_CHUNK = 20_000
_CANCEL_S = 5


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh did."""

    events: int  #: events folded
    rows: int  #: rows written
    refolded: int  #: orders folded from their first event, because of late events
    set_aside: int = 0  #: orders that went into quarantine: the rules fail on an event of theirs
    watermark: UUID
    lag: Lag  #: what is left, for example events of appends that are still open
    seconds: float


def refresh(
    connection: Connection, projection: Projection[Any], on_progress: Callable[[int], object] = lambda _: None
) -> Refreshed:
    """Fold everything that was committed before the call; cost follows the number of new events.

    Commits chunk by chunk, rows and watermark together. Of two refreshes at once the second waits its turn
    and finds less to do. Raises AheadOfLogError where the table waits for a rebuild.
    """
    started = time.monotonic()
    register(connection, projection.name, projection.fold_version)
    begun_at = connection.execute("SELECT clock_timestamp()").fetchone()
    assert begun_at is not None
    events = 0
    rows = refolded = _heal(connection, projection)
    if has_news(connection, projection.name):
        publish_horizon(connection)
        until = horizon(connection)
        with rarely_collected, _ReadAhead(connection, projection.events, until) as read:
            while True:
                with connection.transaction():
                    standing = lock_to_go_on(connection, projection.name)
                    chunk = read.chunk(standing.watermark)
                    if chunk:
                        target = live(projection, standing)
                        folded = projection.layout.fold_into(connection, target, chunk)
                        advance(connection, projection.name, chunk[-1].id)
                        events, rows = events + len(chunk), rows + folded.rows
                        refolded += folded.refolded
                on_progress(len(chunk))
                if len(chunk) < _CHUNK:
                    break
    return Refreshed(
        events=events,
        rows=rows,
        refolded=refolded,
        set_aside=set_aside_since(connection, projection.name, begun_at[0]),
        watermark=(reached := watermark(connection, projection.name)),
        lag=lag_of(connection, reached),
        seconds=time.monotonic() - started,
    )


def live(projection: Projection[Any], standing: Standing) -> Target:
    """The live table, to be folded by its own rules for as long as this code has them.

    New rules take over at promotion, for all rows at once. Where the code has lost the table's rules, an
    order with a new event is folded again by the current ones and its row says so in ``fold_version``.
    """
    folding = projection.folding(standing.fold_version) or projection.current
    mark = None if folding.version == standing.fold_version else folding.version
    return projection.target(projection.name, folding, mark)


class _ReadAhead:
    """Chunks up to an id. Where there are several, the next is read while one is folded and written."""

    def __init__(self, connection: Connection, codec: Codec, until: UUID) -> None:
        self._connection, self._codec, self._until = connection, codec, until
        self._source: Connection | None = None
        self._thread = ThreadPoolExecutor(1)
        self._after, self._next = UUID(int=0), Future[list[FoldEvent]]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        if failed and self._source:  # what it reads is not wanted any more
            with suppress(psycopg.Error):
                self._source.cancel_safe(timeout=_CANCEL_S)
        self._thread.shutdown()
        self._let_go()

    def chunk(self, after: UUID) -> list[FoldEvent]:
        """The events above an id; those read ahead only where they are what is asked for."""
        events = self._ahead() if self._source and after == self._after else None
        if events is None:
            events = self._read(self._connection, after)
        if len(events) >= _CHUNK:
            # There may be no room for one more session.
            with suppress(DatabaseUnavailableError, psycopg.OperationalError):
                self._source = self._source or sibling(self._connection)
                self._after = events[-1].id
                self._next = self._thread.submit(self._read, self._source, self._after)
        return events

    def _ahead(self) -> list[FoldEvent] | None:
        """What was read ahead; None where the other connection is lost: this one reads the same."""
        try:
            return self._next.result()
        except psycopg.OperationalError:
            self._let_go()
            return None

    def _let_go(self) -> None:
        if self._source:
            self._source.close()
        self._source = None

    def _read(self, connection: Connection, after: UUID) -> list[FoldEvent]:
        """What lies below the horizon never changes, whichever connection it is read by."""
        return events_between(connection, self._codec, after, self._until, _CHUNK)


def _heal(connection: Connection, projection: Projection[Any]) -> int:
    """Fold the orders again that were set aside, or that hold events whose type has been learned since."""
    with connection.transaction():
        standing = lock_to_go_on(connection, projection.name)
        target = live(projection, standing)
        tried, learned = orders_to_heal(connection, target)
        rows = refold(connection, target, tried, standing.watermark, only_changed=True)
        return rows + refold(connection, target, learned, standing.watermark)
