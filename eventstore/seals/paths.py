"""Inclusion and consistency proofs of RFC 9162, sections 2.1.3 and 2.1.4: made and checked. Pure."""

from collections.abc import Callable, Sequence

from eventstore.seals.tree import HASH_BYTES, TILE, node_hash, root_of

#: The hash of the subtree over the leaves from one index up to, not including, another.
Subtree = Callable[[int, int], bytes]


def inclusion_path(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes that lead from leaf ``index`` to the root of a tree of ``size`` leaves."""
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether ``leaf``, a leaf hash, stands at ``index`` in the tree of that size and root."""
    if not 0 <= index < size or not _are_hashes([leaf, root, *path]):
        return False
    at, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(step, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, step)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def consistency_path(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The hashes that prove that a tree of ``new`` leaves begins with the tree of ``old`` leaves."""
    if old in (0, new):
        return []
    start, end, path, whole = 0, new, [], True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start, whole = middle, False
    return path[::-1] if whole else [subtree(start, end), *path[::-1]]


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree of ``new`` leaves begins with all leaves of the tree of ``old`` leaves."""
    if not 0 <= old <= new or not _are_hashes([old_root, new_root, *path]):
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == root_of(b"")
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    of_old = of_new = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            of_old, of_new = node_hash(step, of_old), node_hash(step, of_new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            of_new = node_hash(of_new, step)
        at, last = at >> 1, last >> 1
    return last == 0 and of_old == old_root and of_new == new_root


class TiledLeaves:
    """The subtrees of a tree that is kept as tiles: their roots at hand, the leaves of a tile asked for."""

    def __init__(self, roots: bytes, rest: bytes, leaves_of: Callable[[int], bytes]) -> None:
        self._whole = len(roots) // HASH_BYTES  #: tiles
        self._roots = roots + (root_of(rest) if rest else b"")
        self._rest, self._leaves_of = rest, leaves_of

    def subtree(self, start: int, end: int) -> bytes:
        first, last = start // TILE, -(-end // TILE)
        if last - first > 1 or (start % TILE == 0 and end - start == TILE):
            return root_of(self._roots[first * HASH_BYTES : last * HASH_BYTES])
        leaves = self._rest if first == self._whole else self._leaves_of(first)
        offset = first * TILE
        return root_of(leaves[(start - offset) * HASH_BYTES : (end - offset) * HASH_BYTES])


def _split(leaves: int) -> int:
    """The largest power of two below the number of leaves: how many of them are on the left."""
    return int(1 << (leaves - 1).bit_length() - 1)


def _are_hashes(values: Sequence[bytes]) -> bool:
    return all(len(value) == HASH_BYTES for value in values)
