"""Make proofs: from the tiles, for whoever has the checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.checkpoint import Signed, read_checkpoint
from eventstore.seals.errors import SealError
from eventstore.seals.leaves import LEAF, buckets
from eventstore.seals.note import NoteError
from eventstore.seals.paths import TiledLeaves, consistency_path, inclusion_path, is_consistent, is_included
from eventstore.seals.proof import ConsistencyProof, EventProof, encoded
from eventstore.seals.tree import HASH_BYTES, ID_BYTES, TILE, Tree
from eventstore.seals.trees import read_trees

_EVENT = sql.SQL((Path(__file__).parent / "sql" / "event.sql").read_text(encoding="utf-8"))


class _Found(NamedTuple):
    bucket: int
    leaf: str
    hash: bytes


def sealed_checkpoint(connection: Connection, number: int | None = None) -> Signed:
    """A checkpoint of the database, the newest without a number. Raises SealError where there is none."""
    if number is None:
        found = records.newest_note(connection)
        if found is None:
            raise SealError("nothing is sealed yet: `eventstore seal` does that")
        number, written = found
    else:
        note = records.note_of(connection, number)
        if note is None:
            raise SealError(f"the database has no checkpoint {number}")
        written = note
    try:
        return read_checkpoint(written)
    except NoteError as error:
        raise SealError(f"checkpoint {number} in the database cannot be read: {error}") from None


def event_of(connection: Connection, order_id: UUID, version: int) -> UUID:
    """The id of an event of an order. Raises SealError where there is none."""
    row = connection.execute(
        "SELECT id FROM public.order_events WHERE order_id = %s AND version = %s", (order_id, version)
    ).fetchone()
    if row is None:
        raise SealError(f"order {order_id} has no version {version}")
    return UUID(str(row[0]))


def prove_event(connection: Connection, event_id: UUID, number: int | None = None) -> EventProof:
    """The proof that an event is in the log as a checkpoint seals it, the newest without a number.

    Raises SealError where it is not there, or not as it was sealed.
    """
    with _in_one_moment(connection):
        signed = sealed_checkpoint(connection, number)
        made = signed.checkpoint
        found = _find(connection, event_id, len(made.heads))
        stored = read_trees(connection)[found.bucket]
        head = made.heads[found.bucket]
        index = _index(connection, found.bucket, stored, event_id)
        if index is None or index >= head.size:
            raise SealError(_why_not_sealed(event_id, signed, index))
        leaves = _leaves(connection, found.bucket, stored, head.size)
        path = inclusion_path(index, head.size, leaves.subtree)
        if not is_included(found.hash, index, head.size, path, head.root):
            raise SealError(
                f"event {event_id} is not as it was sealed, or the tiles of its bucket are not: "
                "`eventstore verify` says which"
            )
        return EventProof(
            leaf_format=made.leaf_format,
            leaf=found.leaf,
            bucket=found.bucket,
            index=index,
            path=encoded(path),
            checkpoint=signed.written,
            keys=records.key_notes(connection),
        )


def prove_growth(connection: Connection, old: Signed, new: Signed) -> ConsistencyProof:
    """The proof that the log only grew from one checkpoint to another. Raises SealError where it did not."""
    if old.checkpoint.log != new.checkpoint.log:
        raise SealError(f"the checkpoints are of two logs: {old.checkpoint.log} and {new.checkpoint.log}")
    if old.checkpoint.number > new.checkpoint.number:
        old, new = new, old
    paths = []
    with _in_one_moment(connection):
        trees = read_trees(connection)
        if not len(old.checkpoint.heads) == len(new.checkpoint.heads) == len(trees):
            raise SealError("the checkpoints, and the log of this database, have not as many buckets each")
        for bucket, stored in enumerate(trees):
            before, after = old.checkpoint.heads[bucket], new.checkpoint.heads[bucket]
            if not before.size <= after.size <= stored.size:
                raise SealError(
                    f"bucket {bucket} has {stored.size:,} sealed events, fewer than checkpoint "
                    f"{new.checkpoint.number} says: `eventstore verify`"
                )
            leaves = _leaves(connection, bucket, stored, after.size)
            path = consistency_path(before.size, after.size, leaves.subtree)
            if not is_consistent(before.size, before.root, after.size, after.root, path):
                raise SealError(
                    f"bucket {bucket} does not lead from checkpoint {old.checkpoint.number} to "
                    f"{new.checkpoint.number}: one of the two is not of this log's past, or tiles were "
                    "changed: `eventstore verify` says which"
                )
            paths.append(encoded(path))
        return ConsistencyProof(
            old=old.written, new=new.written, paths=paths, keys=records.key_notes(connection)
        )


@contextmanager
def _in_one_moment(connection: Connection) -> Iterator[None]:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _find(connection: Connection, event_id: UUID, number: int) -> _Found:
    for bucket, table in buckets(connection, number).items():
        row = connection.execute(_EVENT.format(leaf=LEAF, bucket=table), (event_id,), binary=True).fetchone()
        if row is not None:
            return _Found(bucket, row[0], row[1])
    raise SealError(f"the log has no event {event_id}")


def _index(connection: Connection, bucket: int, stored: Tree, event_id: UUID) -> int | None:
    """The place of an event in the tree of its bucket."""
    row = connection.execute(
        "SELECT tile, ids FROM public.seal_tiles WHERE bucket = %s AND last_id >= %s "
        "ORDER BY last_id, tile LIMIT 1",
        (bucket, event_id),
        binary=True,
    ).fetchone()
    tile, ids = row or (stored.edge.subtrees, stored.ids)
    for number in range(len(ids) // ID_BYTES):
        if ids[number * ID_BYTES : (number + 1) * ID_BYTES] == event_id.bytes:
            return int(tile) * TILE + number
    return None


def _leaves(connection: Connection, bucket: int, stored: Tree, size: int) -> TiledLeaves:
    """The first leaves of a bucket: the roots of whole tiles, and what is left over."""
    whole = size // TILE
    rows = connection.execute(
        "SELECT root FROM public.seal_tiles WHERE bucket = %s AND tile < %s ORDER BY tile",
        (bucket, whole),
        binary=True,
    ).fetchall()

    def leaves_of(tile: int) -> bytes:
        row = connection.execute(
            "SELECT leaves FROM public.seal_tiles WHERE bucket = %s AND tile = %s",
            (bucket, tile),
            binary=True,
        ).fetchone()
        return bytes(row[0]) if row else b""

    rest = stored.leaves if stored.edge.subtrees == whole else leaves_of(whole)
    return TiledLeaves(b"".join(root for (root,) in rows), rest[: size % TILE * HASH_BYTES], leaves_of)


def _why_not_sealed(event_id: UUID, signed: Signed, index: int | None) -> str:
    made = signed.checkpoint
    if event_id > made.horizon or index is not None:
        return (
            f"event {event_id} came after checkpoint {made.number} of {moment(made.time)}: "
            "`eventstore seal` seals what is new"
        )
    return (
        f"event {event_id} was not there when everything around it was sealed: somebody put it in; "
        "`eventstore verify` says more"
    )
