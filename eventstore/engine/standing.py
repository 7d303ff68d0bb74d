"""Where what follows the log stands in it: projections, snapshots, derived tables and consumers alike.

A row of ``projections`` has the watermark of a read model and the rules that folded it. The watermark commits
with the rows that it speaks of.
"""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from eventstore.engine.projection import Projection
from eventstore.kernel.folding import Folding
from eventstore.log.connection import Connection
from eventstore.log.counting import COUNTED
from eventstore.log.errors import EventStoreError
from eventstore.log.feed import BEGINNING, has_events_after

#: Of a row of ``projections``, whether the event that its watermark names is not in the log: a restore, or
#: damage, took it away. Where it is the end of a millisecond, it names none.
AHEAD_OF_LOG = (
    "watermark <> '00000000-0000-0000-0000-000000000000' "
    "AND watermark <> uuidv7_ceiling(uuidv7_ms(watermark)) "
    "AND NOT EXISTS (SELECT FROM order_events e WHERE e.id = watermark)"
)


_COLUMNS = f"watermark, fold_version, promotion, updated_at, {AHEAD_OF_LOG}"


class AheadOfLogError(EventStoreError):
    """A read model holds events that the log lacks: what comes now must not be folded onto them."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is ahead of the log: it holds events that were taken away, as by a restore; "
            "run `eventstore rebuild`"
        )


class Standing(NamedTuple):
    """What its row says of a read model."""

    watermark: UUID  #: the highest id that it holds
    fold_version: str  #: the rules that folded it
    promotion: str  #: "auto" or "manual"
    updated_at: datetime
    is_ahead: bool  #: the log lacks an event that it holds: it waits for a rebuild


class Lag(msgspec.Struct, frozen=True):
    """How far a follower of the feed is behind the log."""

    events: int  #: committed events above the watermark, without those whose ids lie beyond the clock
    seconds: float  #: how long the oldest of them has been waiting; 0 where there is none
    or_more: bool = False  #: there are more of them than are counted


def register(connection: Connection, name: str, fold_version: str) -> None:
    """Make sure that a read model has its row; its rules are these from the start."""
    connection.execute(
        "INSERT INTO projections (name, fold_version) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (name, fold_version),
    )


def standing(connection: Connection, name: str) -> Standing | None:
    """Where a read model stands; None before its first refresh."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM projections WHERE name = %s", (name,)).fetchone()
    return Standing(*row) if row else None


def watermark(connection: Connection, name: str) -> UUID:
    """The highest id that a read model holds; the beginning of the feed where it holds nothing."""
    found = standing(connection, name)
    return found.watermark if found else BEGINNING


def lock(connection: Connection, name: str) -> Standing:
    """Where it stands, locked until the transaction ends: one writer of a read model at a time."""
    # Two statements: one that has waited sees the newest watermark, but the log as of when it began to wait.
    connection.execute("SELECT FROM projections WHERE name = %s FOR UPDATE", (name,))
    found = standing(connection, name)
    assert found is not None, "register() comes first"
    return found


def advance(connection: Connection, name: str, to: UUID, fold_version: str | None = None) -> None:
    """Move the watermark on; where all rows were folded by other rules meanwhile, say so as well."""
    connection.execute(
        "UPDATE projections SET watermark = %s, fold_version = coalesce(%s, fold_version), "
        "updated_at = now() WHERE name = %s",
        (to, fold_version, name),
    )


def has_news(connection: Connection, name: str) -> bool:
    """Whether the log holds events above the watermark."""
    return has_events_after(connection, watermark(connection, name))


def ahead_of_log(connection: Connection) -> list[str]:
    """The read models that hold an event which the log lacks: a probe of an index each."""
    rows = connection.execute(f"SELECT name FROM projections WHERE {AHEAD_OF_LOG} ORDER BY name")
    return [name for (name,) in rows]


def lock_to_go_on(connection: Connection, name: str) -> Standing:
    """`lock`, for who folds new events onto what is there. Raises AheadOfLogError."""
    found = lock(connection, name)
    if found.is_ahead:
        raise AheadOfLogError(name)
    return found


def lag_of(connection: Connection, watermark: UUID) -> Lag:
    """The lag of a follower that has seen everything up to ``watermark``."""
    row = connection.execute(
        "SELECT count(*), coalesce(greatest(0, (clock_ms() - uuidv7_ms("
        "(SELECT id FROM order_events WHERE id > %(watermark)s AND id <= (SELECT feed_ceiling()) "
        "ORDER BY id LIMIT 1))) / 1000.0), 0)::float8 "
        "FROM (SELECT FROM order_events WHERE id > %(watermark)s AND id <= (SELECT feed_ceiling()) "
        "LIMIT %(counted)s + 1) above",
        {"watermark": watermark, "counted": COUNTED},
    ).fetchone()
    assert row is not None
    return Lag(events=min(row[0], COUNTED), seconds=row[1], or_more=row[0] > COUNTED)


def count_after(connection: Connection, watermark: UUID) -> int:
    """How many events a follower at ``watermark`` has before it. Costs as much as there are: for what takes
    longer anyway.
    """
    row = connection.execute("SELECT count(*) FROM order_events WHERE id > %s", (watermark,)).fetchone()
    assert row is not None
    return int(row[0])


def events_left(connection: Connection, name: str) -> int:
    """How many events the read model ``name`` has before it. See ``count_after``."""
    return count_after(connection, watermark(connection, name))


def rules_in_force(connection: Connection, projection: Projection[Any]) -> Folding:
    """The rules of the live table: newer ones of this code hold once a replay by them is promoted.

    Where this code does not have the table's rules any more, its current ones.
    """
    found = standing(connection, projection.name)
    return (projection.folding(found.fold_version) if found else None) or projection.current
