"""The candidate of a replay: which buckets of it stand, and how it is caught up with the log."""

from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from eventstore.engine.projection import Projection
from eventstore.engine.reading import events_between
from eventstore.kernel.folding import Folding
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import Connection
from eventstore.log.feed import published

_CHUNK = 20_000
_PATIENCE = "3s"  # longer than an autovacuum is in the way


class Candidate(NamedTuple):
    buckets: int  #: that stand, folded by the rules asked for
    of: int  #: how many there are
    others: int  #: that stand, folded by other rules
    watermarks: list[UUID]
    for_preview: bool  #: whether a bucket was replayed for a preview

    @property
    def complete(self) -> bool:
        return self.buckets == self.of


def candidate(
    connection: Connection, projection: Projection[Any], folding: Folding | None = None, *, lock: bool = False
) -> Candidate:
    """What stands of the candidate by ``folding``, by default the current rules.

    With ``lock`` the buckets stay as they are until the transaction ends, and one that is being replayed at
    this moment does not count as standing.
    """
    version = (folding or projection.current).version
    rows = connection.execute(
        "SELECT fold_version, watermark, held FROM replay_buckets WHERE projection = %s"
        + (" FOR UPDATE SKIP LOCKED" if lock else ""),
        (projection.name,),
    ).fetchall()
    mine = [row for row in rows if row[0] == version]
    return Candidate(
        buckets=len(mine),
        of=buckets_of(connection),
        others=len(rows) - len(mine),
        watermarks=[row[1] for row in mine],
        for_preview=any(row[2] for row in mine),
    )


def standing_buckets(connection: Connection, projection: Projection[Any], folding: Folding) -> set[int]:
    """The buckets that stand by these rules."""
    rows = connection.execute(
        "SELECT bucket FROM replay_buckets WHERE projection = %s AND fold_version = %s",
        (projection.name, folding.version),
    )
    return {bucket for (bucket,) in rows}


def reach(connection: Connection, found: Candidate, live: UUID) -> UUID:
    """Up to where a complete candidate is caught up: to the live watermark, or where a bucket is beyond it.

    A live watermark that no reader can have reached is damaged, and does not count.
    """
    until = max(found.watermarks)
    return live if until < live <= published(connection) else until


def catch_up(
    connection: Connection, projection: Projection[Any], folding: Folding, after: UUID, until: UUID
) -> int:
    """Fold into the candidate what its buckets have not seen up to ``until``; returns the events read."""
    target = projection.target(projection.candidate, folding)
    events = 0
    while chunk := events_between(connection, projection.events, after, until, _CHUNK):
        projection.layout.fold_into(connection, target, chunk)
        after = chunk[-1].id
        events += len(chunk)
    connection.execute(
        "UPDATE replay_buckets SET watermark = %s WHERE projection = %s", (until, projection.name)
    )
    return events


def empty(connection: Connection, table: str) -> None:
    """Take all rows out of a table of a candidate, within a transaction.

    By TRUNCATE, which waits for whoever reads the table; a dump reads it for as long as it takes: then row by
    row, which waits for nobody.
    """
    name, lock_timeout = sql.Identifier(table), "SELECT set_config('lock_timeout', %s, true)"
    usual = connection.execute("SELECT current_setting('lock_timeout')").fetchone()
    assert usual is not None
    try:
        with connection.transaction():
            connection.execute(lock_timeout, (_PATIENCE,))
            connection.execute(sql.SQL("TRUNCATE {}").format(name))
            connection.execute(lock_timeout, usual)
    except psycopg.errors.LockNotAvailable:
        connection.execute(sql.SQL("DELETE FROM {}").format(name))


def discard(connection: Connection, projection: Projection[Any]) -> None:
    """Throw the candidate away."""
    with connection.transaction():
        connection.execute("DELETE FROM replay_buckets WHERE projection = %s", (projection.name,))
        connection.execute("DELETE FROM quarantine WHERE projection = %s", (projection.candidate,))
        empty(connection, projection.candidate)
