"""What somebody can do who owns the database: everything, once the triggers are off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

LOG = ("order_events", *(f"order_events_{bucket:02d}" for bucket in range(16)))
SEALS = ("seal_tiles", "seal_trees", "seal_checkpoints", "seal_keys", "seal_timestamps")


@contextmanager
def altering(connection: psycopg.Connection[Any], *tables: str) -> Iterator[None]:
    """The triggers of these tables are off meanwhile; without names, of the log and all seals."""
    named = tables or (*LOG, *SEALS)
    with connection.transaction():
        for table in named:
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        for table in named:
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
