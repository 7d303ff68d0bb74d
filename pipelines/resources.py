"""What runs, schedules and sensors need from outside: the event store."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg

import eventstore
from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError
from eventstore.log.outages import refusal
from eventstore.server import settings
from eventstore.server.errors import ServerError


class EventStore(dg.ConfigurableResource[None]):
    """The event store that DATABASE_URL names, or the embedded one.

    Give a ``url`` in tests only: Dagster shows a resource's configuration, where no password belongs.
    """

    url: str | None = None

    def database_url(self) -> str:
        """Of the primary."""
        return self.url or settings.database_url()

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """What the database or its server refuses fails the run with one line."""
        try:
            yield
        except (EventStoreError, ServerError) as error:
            raise dg.Failure(str(error)) from None
        except psycopg.Error as error:
            raise dg.Failure(refusal(error)) from None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in autocommit mode, for as long as the context lasts.

        What the database refuses or cannot do fails the run with one line, and the run may be tried again.
        """
        with (
            self.explaining(),
            eventstore.connect(self.database_url()) as store,
            store.connection() as connection,
        ):
            yield connection
