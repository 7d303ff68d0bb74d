"""The Python API: ``store = eventstore.connect()``."""

import logging
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from types import TracebackType
from typing import Generic, Self
from uuid import UUID

from psycopg_pool import ConnectionPool, PoolTimeout
from typing_extensions import TypeVar

from eventstore.engine.current import current
from eventstore.engine.domain import Domain
from eventstore.engine.interpretations import TwoInterpretationsWarning, interpretations
from eventstore.engine.state import state
from eventstore.kernel.events import Event
from eventstore.kernel.folding import FoldedState
from eventstore.kernel.recorded import RecordedEvent
from eventstore.kernel.shown import shown
from eventstore.log import append as log_append
from eventstore.log import feed
from eventstore.log.append import Fact
from eventstore.log.connection import Connection, no_store, open_connection, prepare
from eventstore.log.consumers import subscribe
from eventstore.log.epochs import settle_epoch
from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.feed import Page
from eventstore.log.freshness import Freshness, freshness
from eventstore.log.outages import outages_explained
from eventstore.log.position import START, Position
from eventstore.orders.domain import DOMAIN
from eventstore.orders.order import OrderState
from eventstore.server import settings
from eventstore.server.databases import CONNECT_TIMEOUT_S
from eventstore.server.settings import database_url
from eventstore.server.urls import checked

#: The states that the store tells of: of another domain than the shipped one, its own.
S = TypeVar("S", bound=FoldedState, default=OrderState)

#: What psycopg warns of arrives as an error too; a second time it would be lines on standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

#: Whether two interpretations are live is asked at most so often.
_ASK_AGAIN_S = 10


class Store(Generic[S]):
    """An event store. Safe to share between threads; close it, or use it in a ``with`` block."""

    def __init__(self, url: str | None, domain: Domain[S], read_url: str | None = None) -> None:
        """``url`` None: DATABASE_URL or the embedded PostgreSQL, when it is needed first."""
        self._url, self.domain, self.read_url = url, domain, read_url
        self._primary: ConnectionPool | None = None
        self._replica = _pool(read_url) if read_url else None
        self._lock = Lock()
        self._checked = set[str]()
        self._ask_at = 0.0

    @property
    def url(self) -> str:
        """Of the primary."""
        with self._lock:
            self._url = self._url or database_url()
            return self._url

    def append(
        self,
        order_id: UUID | str,
        events: Event | Fact | Iterable[Event | Fact],
        expected_version: int | None = None,
    ) -> list[RecordedEvent]:
        """Append events to an order, all of them or none, and return what stands recorded for each.

        ``expected_version``: the version the order must be at, 0 for a new one; None takes any. An event
        whose Fact carries a ``(source, source_id)`` that the order has already is not appended again.
        Raises ConcurrencyError where the order is at another version, InvalidEventError for a bad event.
        """
        several = [events] if isinstance(events, Event | Fact) else events
        with self.connection() as connection:
            return list(
                log_append.append(
                    connection, as_uuid(order_id), several, expected_version, codec=self.domain.events
                )
            )

    def read(self, after: UUID | None = None, limit: int = 1000) -> list[RecordedEvent]:
        """The feed: up to ``limit`` events above the watermark ``after``, each exactly once, in the order of
        their ids. The id of the last one is the next watermark. Empty when there is nothing new.
        """
        with self.reading() as connection:
            return feed.read(connection, after, limit, codec=self.domain.events)

    def read_page(self, after: Position = START, limit: int = 1000) -> Page:
        """`read` for readers that keep their position elsewhere: up to ``limit`` events behind ``after``, and
        the position behind them, to be kept with what was made of them.

        Raises EpochError where the log was restored, or a replica took over, and what was read up to
        ``after`` may not be in it; its ``accepted`` is the position to go on from.
        """
        with self.reading() as connection:
            return feed.read_page(connection, after, limit, codec=self.domain.events)

    def freshness(self) -> Freshness:
        """How old the answers to reads are: those of a replica are behind the primary."""
        with self.reading() as connection:
            return freshness(connection)

    def stream(self, order_id: UUID | str) -> list[RecordedEvent]:
        """All events of an order in the order of their versions; empty for an order without events."""
        with self.reading() as connection:
            return list(feed.stream(connection, as_uuid(order_id), codec=self.domain.events))

    def current(self, order_id: UUID | str) -> S | None:
        """The order's state now, including every append that has returned; None where it has no events.

        Where reads go to a replica, now is as old as that replica.
        """
        with self.reading() as connection:
            return current(connection, self.domain.states, as_uuid(order_id))

    def state(
        self,
        order_id: UUID | str,
        at: datetime | None = None,
        known: datetime | None = None,
        version: int | None = None,
    ) -> S | None:
        """The order's state as it was ``at`` a business time, as it was ``known`` at a recorded time, up to a
        ``version``: exact, whichever of the three are given. Times without a zone are UTC.

        None where the order has no event within these limits. Raises UnknownVersionError for a version that
        it does not have, UnfoldableEventError where one of the events makes no sense to the rules. Warns by
        TwoInterpretationsWarning while a change of rules is under way: `orders_as_of()` may say otherwise.
        """
        with self.reading() as connection:
            if time.monotonic() >= self._ask_at:
                self._ask_at = time.monotonic() + _ASK_AGAIN_S
                for found in interpretations(connection, self.domain):
                    warnings.warn(found.in_words, TwoInterpretationsWarning, stacklevel=2)
            return state(connection, self.domain.states, as_uuid(order_id), at, known, version)

    def subscribe(
        self, consumer: str, *, follow: bool = True, limit: int | None = None
    ) -> Iterator[RecordedEvent]:
        """The feed for a named consumer, from where it left off: at least once, in order within an order.

        An event is done with when the loop asks for the next one. It ends after ``limit`` events or, without
        ``follow``, at the end of the feed. Raises ConsumerBusyError while another process follows under the
        same name, EpochError where the log was restored and nobody has accepted that for the consumer.
        """
        with self.connection() as connection, self._if_replica() as replica:
            yield from subscribe(
                connection,
                consumer,
                follow=follow,
                limit=limit,
                replica=replica,
                codec=self.domain.events,
            )

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection to the primary of the store's pool, in autocommit mode.

        Raises DatabaseUnavailableError where the database cannot be reached or cannot do its work, BusyError
        where others hold what is needed for too long; also in place of the psycopg error of a statement.
        """
        url = self.url
        self._check(url)
        with self._lock:
            self._primary = self._primary or _pool(url)
        with _lent(self._primary, url) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """`connection`, but to the replica where there is one."""
        with self._if_replica() as replica:
            if replica is not None:
                yield replica
                return
        with self.connection() as connection:
            yield connection

    @contextmanager
    def _if_replica(self) -> Iterator[Connection | None]:
        if self._replica is None or self.read_url is None:
            yield None
            return
        try:
            self._check(self.read_url)
        except DatabaseUnavailableError as error:
            raise DatabaseUnavailableError(f"the replica to read from: {error}") from None
        with _lent(self._replica, self.read_url) as connection:
            yield connection

    def check(self) -> None:
        """Raises DatabaseUnavailableError where the primary does not answer, or is no event store."""
        self._check(self.url)

    def _check(self, url: str) -> None:
        if url not in self._checked:
            _check(url)
            self._checked.add(url)

    def close(self) -> None:
        for pool in (self._primary, self._replica):
            if pool is not None:
                pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(url: str | None = None, read_url: str | None = None) -> Store[OrderState]:
    """Open the event store at ``url``; without one, at DATABASE_URL or on the embedded PostgreSQL, which is
    started if need be.

    Reads go to the replica at ``read_url``; without one and without ``url``, to that of READ_URL if it is
    set. Then neither is asked for anything before it is needed.
    Raises DatabaseUnavailableError where no server answers or the database has not been set up.
    """
    replica = checked(read_url, name="read_url") if read_url else None if url else settings.read_url()
    store = Store(checked(url, name="url") if url else None, DOMAIN, replica)
    if replica is None:
        store.check()
    return store


def _check(url: str) -> None:
    with outages_explained(url), open_connection(url) as connection:
        table, settles = connection.execute(
            "SELECT to_regclass('public.order_events'), "
            "has_function_privilege(to_regprocedure('public.settle_epoch()'), 'EXECUTE')"
        ).fetchone() or (None, None)
        if table is None:
            raise no_store(url)
        if settles:
            settle_epoch(connection)


def _pool(url: str) -> ConnectionPool:
    return ConnectionPool(
        url,
        min_size=0,
        max_size=10,
        open=False,
        configure=prepare,
        kwargs={"autocommit": True, "application_name": "eventstore", "connect_timeout": CONNECT_TIMEOUT_S},
        timeout=10,
    )


@contextmanager
def _lent(pool: ConnectionPool, url: str) -> Iterator[Connection]:
    pool.open()
    try:
        lent = pool.getconn()
    except PoolTimeout:
        raise _unavailable(url) from None
    with outages_explained(url):
        try:
            yield lent
        finally:
            pool.putconn(lent)


def as_uuid(order_id: UUID | str) -> UUID:
    """Raises ValueError, with the value, where ``order_id`` is not a UUID."""
    if isinstance(order_id, UUID):
        return order_id
    try:
        return UUID(order_id)
    except ValueError:
        raise ValueError(f"order id {shown(order_id)} is not a UUID") from None


def _unavailable(url: str) -> DatabaseUnavailableError:
    try:
        open_connection(url).close()
    except DatabaseUnavailableError as error:
        return error
    return DatabaseUnavailableError("all connections of the store have been busy for 10 seconds")
