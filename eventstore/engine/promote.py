"""Promote a finished replay: make the candidate's rows the live ones, in one transaction."""

import time
from typing import Any
from uuid import UUID

import msgspec

from eventstore.engine.candidate import candidate, catch_up, empty, reach
from eventstore.engine.difference import apply_difference
from eventstore.engine.projection import Projection
from eventstore.engine.standing import advance, lock, register, standing
from eventstore.kernel.folding import Folding
from eventstore.kernel.shown import shown
from eventstore.log.connection import Connection
from eventstore.log.feed import newest_up_to


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """The difference that a promotion made to the live table."""

    added: int
    changed: int
    gone: int
    caught_up: int  #: events that came after the replay had read its bucket
    fold_version: str  #: the rules that the table now follows
    watermark: UUID
    seconds: float


def promotion_policy(connection: Connection, projection: Projection[Any]) -> str:
    """ "auto": a refresh promotes a complete replay. "manual": a person does, after reading the preview."""
    found = standing(connection, projection.name)
    return found.promotion if found else "auto"


def set_promotion_policy(connection: Connection, projection: Projection[Any], policy: str) -> None:
    """Raises ValueError for anything but "auto" and "manual"."""
    if policy not in {"auto", "manual"}:
        raise ValueError(f"{shown(policy)} is no promotion policy: give auto or manual")
    register(connection, projection.name, projection.fold_version)
    connection.execute("UPDATE projections SET promotion = %s WHERE name = %s", (policy, projection.name))


def promote(
    connection: Connection,
    projection: Projection[Any],
    *,
    by_hand: bool = False,
    folding: Folding | None = None,
) -> Promoted | None:
    """Catch the candidate up and apply its difference to the live table.

    None, and nothing is changed, where the candidate is not complete or was folded by other rules than
    ``folding`` (by default the current ones) or, unless ``by_hand``, where a person is to read the preview
    first. Readers see all of the old rows or all of the new ones. Grants, views and foreign keys stay.
    """
    started = time.monotonic()
    folding = folding or projection.current
    register(connection, projection.name, projection.fold_version)
    with connection.transaction():
        live = lock(connection, projection.name)
        found = candidate(connection, projection, folding, lock=True)
        if not found.complete or (not by_hand and (found.for_preview or live.promotion == "manual")):
            return None
        until = reach(connection, found, live.watermark)
        caught_up = catch_up(connection, projection, folding, min(found.watermarks), until)
        added, changed, gone = apply_difference(connection, projection)
        connection.execute("DELETE FROM quarantine WHERE projection = %s", (projection.name,))
        connection.execute(
            "UPDATE quarantine SET projection = %s WHERE projection = %s",
            (projection.name, projection.candidate),
        )
        # The last event that it holds: whether the log has that one tells whether the table is ahead of it.
        advance(connection, projection.name, reached := newest_up_to(connection, until), folding.version)
        connection.execute("DELETE FROM replay_buckets WHERE projection = %s", (projection.name,))
        empty(connection, projection.candidate)
    return Promoted(
        added=added,
        changed=changed,
        gone=gone,
        caught_up=caught_up,
        fold_version=folding.version,
        watermark=reached,
        seconds=time.monotonic() - started,
    )
