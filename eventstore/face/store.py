"""The Python API: ``store = eventstore.connect()``."""

import logging
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
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
from eventstore.log.connection import Connection, open_connection, prepare
from eventstore.log.consumers import subscribe
from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.outages import outages_explained
from eventstore.orders.domain import DOMAIN
from eventstore.orders.order import OrderState
from eventstore.server.databases import CONNECT_TIMEOUT_S
from eventstore.server.settings import database_url
from eventstore.server.urls import checked, without_password

#: The states that the store tells of: of another domain than the shipped one, its own.
S = TypeVar("S", bound=FoldedState, default=OrderState)

#: What psycopg warns of arrives as an error too; a second time it would be lines on standard error.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

#: Whether two interpretations are live is asked at most so often.
_ASK_AGAIN_S = 10


class Store(Generic[S]):
    """An event store. Safe to share between threads; close it, or use it in a ``with`` block."""

    def __init__(self, url: str, domain: Domain[S]) -> None:
        self.url, self.domain = url, domain
        self._ask_at = 0.0
        self._pool = ConnectionPool(
            url,
            min_size=0,
            max_size=10,
            open=False,
            configure=prepare,
            kwargs={
                "autocommit": True,
                "application_name": "eventstore",
                "connect_timeout": CONNECT_TIMEOUT_S,
            },
            timeout=10,
        )

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
        with self.connection() as connection:
            return feed.read(connection, after, limit, codec=self.domain.events)

    def stream(self, order_id: UUID | str) -> list[RecordedEvent]:
        """All events of an order in the order of their versions; empty for an order without events."""
        with self.connection() as connection:
            return list(feed.stream(connection, as_uuid(order_id), codec=self.domain.events))

    def current(self, order_id: UUID | str) -> S | None:
        """The order's state now, including every append that has returned; None where it has no events."""
        with self.connection() as connection:
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
        with self.connection() as connection:
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
        same name.
        """
        with self.connection() as connection:
            yield from subscribe(connection, consumer, follow=follow, limit=limit, codec=self.domain.events)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection of the store's pool, in autocommit mode.

        Raises DatabaseUnavailableError where the database cannot be reached or cannot do its work, BusyError
        where others hold what is needed for too long; also in place of the psycopg error of a statement.
        """
        self._pool.open()
        try:
            lent = self._pool.getconn()
        except PoolTimeout:
            raise _unavailable(self.url) from None
        with outages_explained(self.url):
            try:
                yield lent
            finally:
                self._pool.putconn(lent)

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(url: str | None = None) -> Store[OrderState]:
    """Open the event store at ``url``; without one, at DATABASE_URL or on the embedded PostgreSQL, which is
    started if need be.

    Raises DatabaseUnavailableError where no server answers or the database has not been set up.
    """
    where = checked(url, name="url") if url else database_url()
    with outages_explained(where), open_connection(where) as connection:
        (table,) = connection.execute("SELECT to_regclass('public.order_events')").fetchone() or (None,)
    if table is None:
        raise DatabaseUnavailableError(
            f"{without_password(where)} is not an event store yet: run `eventstore init`"
        )
    return Store(where, DOMAIN)


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
