"""What runs, schedules and sensors need from outside: the event store."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

import eventstore
from eventstore.log.connection import Connection


class EventStore(dg.ConfigurableResource[None]):
    """The event store that DATABASE_URL names, or the embedded one.

    Give a ``url`` in tests only: Dagster shows a resource's configuration, where no password belongs.
    """

    url: str | None = None

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection in autocommit mode, for as long as the context lasts."""
        with eventstore.connect(self.url) as store, store.connection() as connection:
            yield connection
