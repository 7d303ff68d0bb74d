"""What somebody can do who owns the database: everything, once the triggers are off."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from eventstore.seals import records
from eventstore.seals.checkpoint import Signed, read_checkpoint, signed
from eventstore.seals.leaves import BEGINNING, buckets, read_leaves
from eventstore.seals.note import SigningKey
from eventstore.seals.tree import Tree
from eventstore.seals.trees import heads as heads_of
from eventstore.seals.trees import read_trees, save_tree
from tests.buckets import BUCKETS, part

LOG = ("order_events", *(part("order_events", bucket) for bucket in range(BUCKETS)))
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


def rewrite_tiles(connection: psycopg.Connection[Any]) -> None:
    """Make tiles and trees those of the rows as they are now, up to the newest checkpoint."""
    (horizon,) = connection.execute(
        "SELECT horizon FROM seal_checkpoints ORDER BY number DESC LIMIT 1"
    ).fetchone() or (BEGINNING,)
    connection.execute("DELETE FROM seal_tiles")
    for bucket, table in buckets(connection, BUCKETS).items():
        found = read_leaves(connection, table, BEGINNING, horizon)
        tree, filled = Tree().extended(found.hashes, found.ids)
        save_tree(connection, bucket, tree, filled)


def forge_checkpoints(
    connection: psycopg.Connection[Any], key: SigningKey, numbers: Iterable[int] | None = None
) -> None:
    """Sign checkpoints anew that speak of the trees as they are now: all of them, or those."""
    trees = read_trees(connection)
    before: Signed | None = None
    for number, note in list(records.notes(connection)):
        found = read_checkpoint(note)
        if numbers is None or number in numbers:
            heads = [
                tree if head.size == tree[0] else head
                for head, tree in zip(found.checkpoint.heads, heads_of(trees), strict=True)
            ]
            forged = found.checkpoint._replace(
                heads=tuple(heads), log=key.name, previous=before.digest if before else None
            )
            found = signed(forged, key)
            connection.execute(
                "UPDATE seal_checkpoints SET note = %s WHERE number = %s", (found.written, number)
            )
        before = found
