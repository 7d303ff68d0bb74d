"""Derived tables: computed by SQL from the rows of a projection, not from events.

A projection's key is the order. Whatever has another key, such as a customer or a day, is derived.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from eventstore.engine.projection import Projection
from eventstore.engine.standing import advance, lock, register, standing
from eventstore.log.connection import Connection
from eventstore.log.feed import BEGINNING


@dataclass(frozen=True)
class Derived:
    """A table that one statement brings up to date with its source.

    The statement returns (written, gone, watermark of the source). Being one statement it sees the source
    and its watermark at one moment; readers see all of what it does or nothing. As ``after`` it gets the
    watermark of the time before.
    """

    name: str
    description: str  #: for the catalog
    source: Projection[Any]
    statement: Path  #: the file of the statement
    key: tuple[str, ...]  #: the columns that name a group, a row of the table
    sums: tuple[str, ...] = ()  #: tables that the statement goes on from


class DerivedRefreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh of a derived table did."""

    written: int  #: rows added or changed
    gone: int  #: rows deleted
    rows: int  #: rows that there are now
    watermark: UUID  #: of the source as it was read
    seconds: float


def refresh_derived(connection: Connection, derived: Derived, *, rebuild: bool = False) -> DerivedRefreshed:
    """Make a derived table what its source says now; two refreshes at once take turns.

    With ``rebuild`` from empty tables and the beginning of the log.
    """
    started = time.monotonic()
    register(connection, derived.source.name, derived.source.fold_version)
    register(connection, derived.name, derived.source.fold_version)
    with connection.transaction():
        after = lock(connection, derived.name).watermark
        if rebuild:
            for name in (derived.name, *derived.sums):
                connection.execute(f"DELETE FROM {name}")
            after = BEGINNING
        statement = derived.statement.read_bytes()
        written, gone, watermark = connection.execute(statement, {"after": after}).fetchone() or (0, 0, after)
        source = standing(connection, derived.source.name)
        advance(connection, derived.name, watermark, source.fold_version if source else None)
        (rows,) = connection.execute(f"SELECT count(*) FROM {derived.name}").fetchone() or (0,)
    return DerivedRefreshed(
        written=written, gone=gone, rows=rows, watermark=watermark, seconds=time.monotonic() - started
    )
