"""Named consumers: follow the feed from where one left off, at least once, also after a crash."""

import time
from collections.abc import Iterator
from uuid import UUID

from eventstore.domain.recorded import RecordedEvent
from eventstore.log.connection import CONSUMER_LOCK, Connection
from eventstore.log.errors import ConsumerBusyError
from eventstore.log.feed import BEGINNING, read

_PAGE = 1000
_POLL_SECONDS = 0.5
_SAVE_SECONDS = 1.0


def consumer_watermark(connection: Connection, consumer: str) -> UUID:
    """The last event that the consumer is done with; the beginning of the feed for a new one."""
    row = connection.execute("SELECT watermark FROM consumers WHERE name = %s", (consumer,)).fetchone()
    return UUID(str(row[0])) if row else BEGINNING


def save_watermark(connection: Connection, consumer: str, watermark: UUID) -> None:
    """Remember that the consumer is done with everything up to ``watermark``; never goes back."""
    connection.execute("SELECT save_watermark(%s, %s)", (consumer, watermark))


def subscribe(
    connection: Connection, consumer: str, *, follow: bool = True, limit: int | None = None
) -> Iterator[RecordedEvent]:
    """The feed from the consumer's watermark on; ``connection`` is its own while it lasts.

    An event counts as done when the next one is asked for. The watermark is saved every second, at the end
    of each page, and when the iterator is closed: what a crash loses of it is delivered again. It ends after
    ``limit`` events or, without ``follow``, at the end of the feed.
    Raises ConsumerBusyError while another session follows under this name.
    """
    _lock(connection, consumer)
    try:
        done = saved = consumer_watermark(connection, consumer)
        save_watermark(connection, consumer, done)
        try:
            while limit != 0:
                last_save = time.monotonic()
                page = read(connection, done, _PAGE if limit is None else min(_PAGE, limit))
                for event in page:
                    yield event
                    done = event.id
                    if time.monotonic() - last_save > _SAVE_SECONDS:
                        save_watermark(connection, consumer, done)
                        saved, last_save = done, time.monotonic()
                if done != saved:
                    save_watermark(connection, consumer, done)
                    saved = done
                limit = None if limit is None else limit - len(page)
                if not page:
                    if not follow:
                        return
                    time.sleep(_POLL_SECONDS)
        finally:
            if done != saved and not connection.closed:
                save_watermark(connection, consumer, done)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (CONSUMER_LOCK, consumer))


def _lock(connection: Connection, consumer: str) -> None:
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (CONSUMER_LOCK, consumer)
    ).fetchone()
    if not (row and row[0]):
        raise ConsumerBusyError(
            f"consumer {consumer!r} is followed by another process: stop that one, or use another name"
        )
