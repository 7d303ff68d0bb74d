"""Seal the log up to the horizon: let the trees grow by the new events, and sign where they stand.

A step takes a bounded number of events and is one transaction: tiles, trees and the signed checkpoint of
them. So the trees in the database are at every moment those of the newest checkpoint, whose signature is how
a step knows that nobody changed what it builds on. The copies outside follow the commit.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from eventstore.log.connection import Connection
from eventstore.log.feed import has_events_after, publish_horizon
from eventstore.log.feed import horizon as read_horizon
from eventstore.seals import records
from eventstore.seals.checkpoint import LEAF_FORMAT, Checkpoint, Signed, read_checkpoint, signed
from eventstore.seals.copies import hand_out, refuse_to_go_back
from eventstore.seals.epochs import current_epoch
from eventstore.seals.errors import SealError
from eventstore.seals.leaves import BEGINNING, buckets, prefer_index, read_leaves
from eventstore.seals.note import NoteError
from eventstore.seals.outside import Outside
from eventstore.seals.signing import signing_key
from eventstore.seals.tree import Tree
from eventstore.seals.trees import heads, lock_trees, save_tree

#: Events of a step: about a second of work, 10 MB of hashes at most.
STEP = 200_000


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a run."""

    events: int  #: newly sealed
    size: int  #: sealed in all
    checkpoint: int  #: the number of the newest; 0 where there is none
    horizon: UUID  #: every event up to here is sealed
    sealed_at: datetime | None  #: when the newest checkpoint was made
    key: str | None  #: the public key that signs
    stamped_at: datetime | None  #: the newest checkpoint, by a time stamp authority, in this run
    warnings: list[str]  #: what a person should look into


def seal(
    connection: Connection,
    outside: Outside,
    *,
    step: int = STEP,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Sealed:
    """Seal every event up to now. Makes a key where nothing was ever sealed.

    Any number of sessions may do this at once: they take turns. Killed anywhere, it is simply run again.
    Raises SealError where the database has gone back behind what was sealed, or the private key is missing.
    """
    events = 0
    warnings: list[str] = []
    if has_events_after(connection, sealed_until(connection)):
        publish_horizon(connection)
        done = step
        while done >= step:
            done = _step(connection, outside, step)
            warnings += hand_out(connection, outside).warnings
            events += done
            on_progress(done)
    copies = hand_out(connection, outside, with_stamp=True)
    newest = copies.newest
    return Sealed(
        events=events,
        size=newest.checkpoint.size if newest else 0,
        checkpoint=newest.checkpoint.number if newest else 0,
        horizon=newest.checkpoint.horizon if newest else BEGINNING,
        sealed_at=newest.checkpoint.time if newest else None,
        key=copies.key,
        stamped_at=copies.stamped_at,
        warnings=[*warnings, *copies.warnings],
    )


def sealed_until(connection: Connection) -> UUID:
    """Every event up to this id is sealed."""
    found = records.newest_note(connection)
    try:
        return read_checkpoint(found[1]).checkpoint.horizon if found else BEGINNING
    except NoteError:  # a step says what is wrong
        return BEGINNING


def lock_newest(connection: Connection) -> tuple[Signed | None, list[Tree]]:
    """The newest checkpoint and the trees that it speaks of, locked until the transaction ends.

    Raises SealError where the two do not belong together. Whether the checkpoint is signed is not looked at.
    """
    trees = lock_trees(connection)
    found = records.newest_note(connection)
    if found is None:
        if any(tree.size for tree in trees):
            raise SealError("there are trees but no checkpoint: seal_checkpoints was emptied; restore it")
        return None, trees
    number, written = found
    try:
        newest = read_checkpoint(written)
    except NoteError as error:
        raise SealError(f"checkpoint {number} in the database cannot be read: {error}") from None
    if newest.checkpoint.number != number or newest.checkpoint.heads != heads(trees):
        raise SealError(
            f"seal_trees and checkpoint {number} do not belong together: one of the two was changed; "
            "`eventstore verify` says whether the log was, too; if not, `eventstore seal --repair` mends it"
        )
    return newest, trees


def clock(connection: Connection) -> datetime:
    """The database's."""
    row = connection.execute("SELECT least(clock_ms(), 253402300799999)").fetchone()  # the year 9999
    assert row is not None
    return datetime.fromtimestamp(row[0] / 1000, UTC)


def _step(connection: Connection, outside: Outside, step: int) -> int:
    """Seal so many events at most; returns how many, 0 where there is none left."""
    with connection.transaction():
        _survive_crashes(connection)
        prefer_index(connection)
        newest, trees = lock_newest(connection)
        refuse_to_go_back(connection, outside, outside.folder.newest(), newest)
        after = newest.checkpoint.horizon if newest else BEGINNING
        until = _end_of_step(connection, after, step)
        if until is None:
            return 0
        now = clock(connection)
        key, _ = signing_key(connection, outside, newest, now)
        events = _grow(connection, trees, after, until)
        made = Checkpoint(
            log=key.name,
            number=newest.checkpoint.number + 1 if newest else 1,
            epoch=current_epoch(connection),
            leaf_format=LEAF_FORMAT,
            horizon=until,
            time=now,
            previous=newest.digest if newest else None,
            heads=heads(trees),
        )
        records.record(connection, signed(made, key))
    return events


def _grow(connection: Connection, trees: list[Tree], after: UUID, until: UUID) -> int:
    """Let each tree grow by the events of its bucket; returns how many."""
    tables = buckets(connection, len(trees))
    events = 0
    for bucket in range(len(trees)):
        if bucket not in tables:
            raise SealError(f"the table of bucket {bucket} of the log is gone: restore it before sealing")
        found = read_leaves(connection, tables[bucket], after, until)
        if found.events:
            trees[bucket], filled = trees[bucket].extended(found.hashes, found.ids)
            save_tree(connection, bucket, trees[bucket], filled)
            events += found.events
    return events


def _survive_crashes(connection: Connection) -> None:
    """What is outside must be in the database after a crash, or that would look like an older one."""
    connection.execute(
        "SELECT pg_catalog.set_config('synchronous_commit', 'local', true) "
        "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'"
    )


def _end_of_step(connection: Connection, after: UUID, step: int) -> UUID | None:
    """Up to which id a step goes; None where there is no event to seal."""
    limit = read_horizon(connection)
    row = connection.execute(
        "SELECT (SELECT id FROM public.order_events WHERE id > %(after)s AND id <= %(limit)s "
        "ORDER BY id OFFSET %(step)s - 1 LIMIT 1), "
        "EXISTS (SELECT FROM public.order_events WHERE id > %(after)s AND id <= %(limit)s)",
        {"after": after, "limit": limit, "step": step},
    ).fetchone()
    assert row is not None
    full, is_any = row
    return full or (limit if is_any else None)
