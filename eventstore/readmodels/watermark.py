"""Where a projection stands in the feed. The watermark commits with the rows that it speaks of."""

from typing import Any, NamedTuple
from uuid import UUID

from eventstore.log.connection import Connection
from eventstore.log.feed import BEGINNING
from eventstore.readmodels.projection import Projection


def register(connection: Connection, projection: Projection[Any]) -> None:
    """Make sure that the projection has its row."""
    connection.execute(
        "INSERT INTO projections (name, fold_version) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (projection.name, projection.fold_version),
    )


def watermark(connection: Connection, projection: Projection[Any]) -> UUID:
    """The highest id folded; the beginning of the feed where nothing is."""
    row = connection.execute(
        "SELECT watermark FROM projections WHERE name = %s", (projection.name,)
    ).fetchone()
    return UUID(str(row[0])) if row else BEGINNING


class Standing(NamedTuple):
    """What the projections row says of a projection."""

    watermark: UUID
    fold_version: str  #: the rules that folded the table
    promotion: str  #: "auto" or "manual"


def lock(connection: Connection, projection: Projection[Any]) -> Standing:
    """The projection's standing, locked until the transaction ends: one writer of a projection at a time."""
    row = connection.execute(
        "SELECT watermark, fold_version, promotion FROM projections WHERE name = %s FOR UPDATE",
        (projection.name,),
    ).fetchone()
    assert row is not None, "register() comes first"
    return Standing(*row)


def advance(connection: Connection, projection: Projection[Any], to: UUID) -> None:
    connection.execute(
        "UPDATE projections SET watermark = %s, updated_at = now() WHERE name = %s", (to, projection.name)
    )
