"""The Merkle tree of RFC 9162 over SHA-256, kept as tiles of 256 leaf hashes: roots and growth. Pure."""

from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

import msgspec

HASH_BYTES = 32
ID_BYTES = 16
TILE = 256  #: leaves of a tile; a power of two, so that tiles are whole subtrees

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root_of(hashes: bytes) -> bytes:
    """The root of a tree, or of a subtree, whose leaf hashes are given one behind the other."""
    if not hashes:
        return EMPTY_ROOT
    while len(hashes) > HASH_BYTES:
        paired = len(hashes) - len(hashes) % (2 * HASH_BYTES)
        above = [sha256(b"\x01" + hashes[at : at + 64]).digest() for at in range(0, paired, 64)]
        hashes = b"".join([*above, hashes[paired:]])  # a lone hash on the right is lifted
    return hashes


class Edge(NamedTuple):
    """The right edge of a tree of so many equal subtrees: the hashes of the largest whole subtrees that it
    consists of, the largest first. All that is needed to let the tree grow, and to know its root.
    """

    subtrees: int = 0
    hashes: tuple[bytes, ...] = ()

    def grown(self, subtree: bytes) -> "Edge":
        """With one more subtree to the right."""
        hashes, count = [*self.hashes, subtree], self.subtrees
        while count & 1:
            right = hashes.pop()
            hashes[-1] = node_hash(hashes[-1], right)
            count >>= 1
        return Edge(self.subtrees + 1, tuple(hashes))

    def root(self, rest: bytes = b"") -> bytes:
        """The root of the tree; ``rest`` is the hash of a smaller subtree to the right of all others."""
        root = rest
        for subtree in reversed(self.hashes):
            root = node_hash(subtree, root) if root else subtree
        return root or EMPTY_ROOT


class Tile(NamedTuple):
    """A whole tile: the hashes of its leaves, the ids of their events, and the root of the subtree."""

    number: int
    leaves: bytes
    ids: bytes
    root: bytes


class Tree(msgspec.Struct, frozen=True):
    """A tree that can grow: the edge over its whole tiles, and the leaves that do not fill a tile yet."""

    edge: Edge = Edge()
    leaves: bytes = b""
    ids: bytes = b""

    @property
    def size(self) -> int:
        return self.edge.subtrees * TILE + len(self.leaves) // HASH_BYTES

    @property
    def root(self) -> bytes:
        return self.edge.root(root_of(self.leaves) if self.leaves else b"")

    def extended(self, leaves: bytes, ids: bytes) -> tuple["Tree", list[Tile]]:
        """The tree with more leaves, and the tiles that they filled."""
        leaves, ids = self.leaves + leaves, self.ids + ids
        edge, filled = self.edge, []
        for tile_leaves, tile_ids in tiles(leaves, ids):
            filled.append(Tile(edge.subtrees, tile_leaves, tile_ids, root_of(tile_leaves)))
            edge = edge.grown(filled[-1].root)
        return Tree(
            edge, leaves[len(filled) * TILE * HASH_BYTES :], ids[len(filled) * TILE * ID_BYTES :]
        ), filled


def tiles(leaves: bytes, ids: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The whole tiles that these leaves and ids fill; what is left over is left out."""
    for number in range(len(leaves) // (TILE * HASH_BYTES)):
        yield (
            leaves[number * TILE * HASH_BYTES : (number + 1) * TILE * HASH_BYTES],
            ids[number * TILE * ID_BYTES : (number + 1) * TILE * ID_BYTES],
        )
