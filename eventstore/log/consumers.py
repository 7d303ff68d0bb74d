"""Named consumers: follow the feed from where one left off, at least once, also after a crash."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

import msgspec
import psycopg

from eventstore.kernel.codec import Codec
from eventstore.kernel.recorded import RecordedEvent
from eventstore.log.connection import CONSUMER_LOCK, Connection
from eventstore.log.epochs import check_position, current_epoch, epoch_error
from eventstore.log.errors import (
    ConsumerBusyError,
    ConsumerOwnerError,
    EventStoreError,
    UnknownConsumerError,
    WatermarkError,
)
from eventstore.log.feed import BEGINNING, publish_horizon, read
from eventstore.log.outages import raised_by_a_function
from eventstore.log.position import Position
from eventstore.log.rows import NO_TYPES

_PAGE = 1000
_POLL_SECONDS = 0.5
_SAVE_SECONDS = 1.0
_REFUSALS: dict[str, type[EventStoreError]] = {
    "ES002": WatermarkError,  # above the horizon
    "P0002": UnknownConsumerError,
    "22004": WatermarkError,  # null
    "22023": WatermarkError,  # no name
    "55006": ConsumerBusyError,  # followed
    "55P03": ConsumerBusyError,  # being changed
    "42501": ConsumerOwnerError,
}
#: What the server says of its own accord too: no right to call the function, a lock that was waited for.
_SERVER_TOO = {"42501", "55P03"}

_log = logging.getLogger(__name__)


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A named follower of the feed, as it stands."""

    name: str
    owner: str | None  #: the role that may change it, with its members; None: whoever saves next
    watermark: UUID
    updated_at: datetime  #: when it was last done with something
    followed_by: list[int]  #: the sessions (pids) that follow under its name now


def consumers(connection: Connection) -> list[Consumer]:
    """All of them, by name."""
    rows = connection.execute(
        "SELECT c.name, c.owner, c.watermark, c.updated_at, coalesce(h.pids, '{}') FROM consumers c "
        "LEFT JOIN (SELECT name, array_agg(pid ORDER BY pid) AS pids FROM lock_holders() "
        "WHERE kind = 'consumer' AND granted AND pid IS NOT NULL GROUP BY name) h USING (name) "
        "ORDER BY c.name"
    )
    return [
        Consumer(name=name, owner=owner, watermark=watermark, updated_at=updated_at, followed_by=pids)
        for name, owner, watermark, updated_at, pids in rows
    ]


def consumer_watermark(connection: Connection, consumer: str) -> UUID:
    """The last event that the consumer is done with; the beginning of the feed for a new one."""
    row = connection.execute("SELECT watermark FROM consumers WHERE name = %s", (consumer,)).fetchone()
    return UUID(str(row[0])) if row else BEGINNING


def save_watermark(connection: Connection, consumer: str, watermark: UUID) -> None:
    """Remember that the consumer is done with everything up to ``watermark``; never goes back.

    Registers it the first time, as the login's. Raises WatermarkError for one above what readers can have
    been shown, ConsumerOwnerError where it belongs to another role.
    """
    with _refusals():
        connection.execute("SELECT save_watermark(%s, %s)", (consumer, watermark))


def reset_watermark(connection: Connection, consumer: str, watermark: UUID) -> None:
    """Put the consumer at ``watermark``, forwards or back: it is given what comes after, and nothing before.

    Raises ConsumerBusyError while somebody follows under the name, ConsumerOwnerError where it belongs to
    another role, UnknownConsumerError, and WatermarkError above what readers can have been shown.
    """
    publish_horizon(connection)
    with _refusals():
        connection.execute("SELECT reset_watermark(%s, %s)", (consumer, watermark))


def accept_epoch(connection: Connection, consumer: str) -> Position:
    """Let the consumer go on although the log went back since its watermark was saved; returns from where.

    What it was given after is delivered again, or is gone. Raises as `reset_watermark` does.
    """
    with _refusals():
        row = connection.execute("SELECT epoch, watermark FROM accept_epoch(%s)", (consumer,)).fetchone()
    assert row is not None
    return Position(row[0], row[1])


def delete_consumer(connection: Connection, consumer: str) -> None:
    """Forget the consumer. Raises as `reset_watermark` does."""
    with _refusals():
        connection.execute("SELECT delete_consumer(%s)", (consumer,))


def subscribe(
    connection: Connection,
    consumer: str,
    *,
    follow: bool = True,
    limit: int | None = None,
    replica: Connection | None = None,
    codec: Codec = NO_TYPES,
) -> Iterator[RecordedEvent]:
    """The feed from the consumer's watermark on; ``connection`` is its own while it lasts.

    Where there is a ``replica``, the events are read there; the watermark stays on the primary.

    An event counts as done when the next one is asked for. The watermark is saved every second, at the end
    of each page, and when the iterator is closed: what a crash loses of it is delivered again. It ends after
    ``limit`` events or, without ``follow``, at the end of the feed.
    Raises ConsumerBusyError while another session follows under this name, ConsumerOwnerError where it
    belongs to another role, EpochError where the database was restored since and nobody has accepted that.
    """
    save_watermark(connection, consumer, BEGINNING)  # registers it; refused where it is somebody else's
    _lock(connection, consumer)
    try:
        done = saved = consumer_watermark(connection, consumer)
        if replica is not None:  # of this log, and not of what another server made of it
            check_position(replica, Position(current_epoch(connection), done))
        try:
            while limit != 0:
                last_save = time.monotonic()
                most = _PAGE if limit is None else min(_PAGE, limit)
                page = read(replica or connection, done, most, codec=codec)
                for event in page:
                    yield event
                    done = event.id
                    if time.monotonic() - last_save > _SAVE_SECONDS:
                        saved, last_save = _saved(connection, consumer, saved, done), time.monotonic()
                saved = _saved(connection, consumer, saved, done)
                limit = None if limit is None else limit - len(page)
                if not page:
                    if not follow:
                        return
                    time.sleep(_POLL_SECONDS)
        finally:
            if not connection.closed and _saved(connection, consumer, saved, done) != done:
                _log.warning("consumer %s could not save %s: what it saw is delivered again", consumer, done)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (CONSUMER_LOCK, consumer))


def _saved(connection: Connection, consumer: str, saved: UUID, done: UUID) -> UUID:
    """The watermark that is saved after trying to save ``done``.

    What was delivered can be refused while somebody announces an append of the past, by accident or not:
    that must not end the consumer, it saves later.
    """
    if done == saved:
        return saved
    try:
        save_watermark(connection, consumer, done)
    except WatermarkError:
        return saved
    return done


def _lock(connection: Connection, consumer: str) -> None:
    row = connection.execute(
        "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (CONSUMER_LOCK, consumer)
    ).fetchone()
    if not (row and row[0]):
        holder = connection.execute("SELECT name_holders('consumer', %s)", (consumer,)).fetchone()
        who = f", {holder[0]}" if holder and holder[0] != "nobody" else ""  # it has just let go
        raise ConsumerBusyError(
            f"consumer {consumer!r} is followed by another process{who}: stop that one, or use another name"
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """What the functions of the database refuse, as errors of the store."""
    try:
        yield
    except psycopg.DatabaseError as error:
        if ended := epoch_error(error):
            raise ended from None
        refusal = _REFUSALS.get(error.sqlstate or "")
        if refusal is None or (error.sqlstate in _SERVER_TOO and not raised_by_a_function(error)):
            raise
        said = (error.diag.message_primary, error.diag.message_hint)
        raise refusal(". ".join(part for part in said if part)) from None
