"""The trees and their tiles in the database."""

from collections.abc import Sequence
from uuid import UUID

from eventstore.log.connection import Connection
from eventstore.seals.checkpoint import Head
from eventstore.seals.tree import HASH_BYTES, ID_BYTES, Edge, Tile, Tree

_COLUMNS = "tiles, edge, leaves, ids"


def read_trees(connection: Connection) -> list[Tree]:
    """The tree of each bucket as it stands."""
    return _trees(connection, "")


def lock_trees(connection: Connection) -> list[Tree]:
    """The trees, locked until the transaction ends: one at a time lets them grow."""
    return _trees(connection, " FOR UPDATE")


def heads(trees: Sequence[Tree]) -> tuple[Head, ...]:
    return tuple(Head(tree.size, tree.root) for tree in trees)


def save_tree(connection: Connection, bucket: int, tree: Tree, filled: Sequence[Tile]) -> None:
    """Keep a tree that has grown, and the tiles that it filled."""
    if filled:
        with (
            connection.cursor() as cursor,
            cursor.copy(
                "COPY public.seal_tiles (bucket, tile, last_id, root, ids, leaves) FROM STDIN (FORMAT BINARY)"
            ) as copy,
        ):
            copy.set_types(["int4", "int8", "uuid", "bytea", "bytea", "bytea"])
            for tile in filled:
                last_id = UUID(bytes=tile.ids[-ID_BYTES:])
                copy.write_row((bucket, tile.number, last_id, tile.root, tile.ids, tile.leaves))
    connection.execute(
        "UPDATE public.seal_trees SET tiles = %s, edge = %s, leaves = %s, ids = %s WHERE bucket = %s",
        (tree.edge.subtrees, b"".join(tree.edge.hashes), tree.leaves, tree.ids, bucket),
        binary=True,
    )


def _trees(connection: Connection, locking: str) -> list[Tree]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM public.seal_trees ORDER BY bucket{locking}", binary=True
    ).fetchall()
    return [Tree(Edge(tiles, _split(edge)), leaves, ids) for tiles, edge, leaves, ids in rows]


def _split(hashes: bytes) -> tuple[bytes, ...]:
    return tuple(hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
