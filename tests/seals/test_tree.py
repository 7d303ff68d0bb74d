"""The tree is that of RFC 9162: known roots, another implementation, and proofs that no change survives."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from eventstore.seals.paths import (
    TiledLeaves,
    consistency_path,
    inclusion_path,
    is_consistent,
    is_included,
)
from eventstore.seals.tree import EMPTY_ROOT, HASH_BYTES, ID_BYTES, TILE, Tree, leaf_hash, root_of

#: The leaves and roots that every implementation of Certificate Transparency (RFC 6962) is tested with.
KNOWN_LEAVES = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
KNOWN_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
#: Around everything that could be off by one: leaves of a tile, tiles of a power of two.
SIZES = (1, 2, 3, 7, 8, TILE - 1, TILE, TILE + 1, 2 * TILE, 3 * TILE - 1, 3 * TILE + 17, 4 * TILE)


def leaves(size: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(size)]


def ids(size: int) -> bytes:
    return os.urandom(size * ID_BYTES)


def grown(hashes: list[bytes], steps: list[int]) -> Tree:
    """A tree that got its leaves in so many steps."""
    tree = Tree()
    for start, end in pairwise([0, *steps, len(hashes)]):
        tree, _ = tree.extended(b"".join(hashes[start:end]), ids(end - start))
    return tree


def tiled(hashes: list[bytes]) -> TiledLeaves:
    whole = len(hashes) // TILE
    tiles = [b"".join(hashes[number * TILE : (number + 1) * TILE]) for number in range(whole)]
    return TiledLeaves(
        b"".join(map(root_of, tiles)), b"".join(hashes[whole * TILE :]), lambda number: tiles[number]
    )


@pytest.mark.parametrize("size", range(1, len(KNOWN_LEAVES) + 1))
def test_the_roots_are_those_that_every_transparency_log_is_tested_with(size: int) -> None:
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in KNOWN_LEAVES[:size]]
    assert root_of(b"".join(hashes)).hex() == KNOWN_ROOTS[size - 1]
    assert grown(hashes, []).root.hex() == KNOWN_ROOTS[size - 1]


def test_a_tree_without_leaves_has_the_root_of_the_rfc() -> None:
    assert Tree().root == root_of(b"") == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_another_implementation_computes_the_same_root_at_every_size() -> None:
    other, tree = InmemoryTree(algorithm="sha256"), Tree()
    for number in range(3 * TILE + 3):
        other.append_entry(str(number).encode())
        tree, _ = tree.extended(leaf_hash(str(number).encode()), ids(1))
        assert tree.root == other.get_root()


@given(st.integers(0, 5 * TILE), st.lists(st.integers(0, 5 * TILE), max_size=5))
def test_a_tree_is_the_same_in_whatever_steps_it_grew(size: int, steps: list[int]) -> None:
    hashes = leaves(size)
    tree = grown(hashes, sorted(min(step, size) for step in steps))
    assert (tree.size, tree.root) == (size, root_of(b"".join(hashes)))
    assert len(tree.leaves) == size % TILE * HASH_BYTES


def test_filled_tiles_hold_the_leaves_the_ids_and_the_roots_of_their_subtrees() -> None:
    hashes, names = leaves(2 * TILE + 5), ids(2 * TILE + 5)
    tree, first = Tree().extended(b"".join(hashes[:300]), names[: 300 * ID_BYTES])
    tree, second = tree.extended(b"".join(hashes[300:]), names[300 * ID_BYTES :])
    assert [tile.number for tile in [*first, *second]] == [0, 1]
    assert b"".join(tile.leaves for tile in [*first, *second]) + tree.leaves == b"".join(hashes)
    assert b"".join(tile.ids for tile in [*first, *second]) + tree.ids == names
    assert all(tile.root == root_of(tile.leaves) for tile in [*first, *second])


@pytest.mark.parametrize("size", SIZES)
def test_an_inclusion_proof_holds_for_its_leaf_its_place_and_its_tree_alone(size: int) -> None:
    hashes = leaves(size)
    root, subtree = root_of(b"".join(hashes)), tiled(hashes).subtree
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        path = inclusion_path(index, size, subtree)
        assert is_included(hashes[index], index, size, path, root)
        assert not is_included(leaf_hash(b"another"), index, size, path, root)
        assert not is_included(hashes[index], index, size, path, leaf_hash(b"another"))
        assert not is_included(hashes[index], size, size, path, root)
        assert not is_included(hashes[index], index, size, [*path, root], root)
        for step in range(len(path)):
            assert not is_included(hashes[index], index, size, path[:step] + path[step + 1 :], root)
            changed = [*path[:step], leaf_hash(path[step]), *path[step + 1 :]]
            assert not is_included(hashes[index], index, size, changed, root)
        for other in {index - 1, index + 1} & set(range(size)):
            assert not is_included(hashes[index], other, size, path, root)


@pytest.mark.parametrize("new", SIZES)
def test_a_consistency_proof_holds_for_the_beginning_of_a_tree_alone(new: int) -> None:
    hashes = leaves(new)
    new_root, subtree = root_of(b"".join(hashes)), tiled(hashes).subtree
    for old in {size for size in (0, *SIZES, new - 1) if size <= new}:
        old_root = root_of(b"".join(hashes[:old]))
        path = consistency_path(old, new, subtree)
        assert is_consistent(old, old_root, new, new_root, path)
        assert not is_consistent(old, leaf_hash(b"another"), new, new_root, path)
        # Every tree begins with the empty one.
        assert is_consistent(old, old_root, new, leaf_hash(b"another"), path) == (old == 0)
        assert not is_consistent(old, old_root, new, new_root, [*path, old_root])
        for step in range(len(path)):
            assert not is_consistent(old, old_root, new, new_root, path[:step] + path[step + 1 :])


@pytest.mark.parametrize("size", [1, 2, 5, TILE, TILE + 1, 2 * TILE + 3])
def test_another_implementation_makes_the_same_paths(size: int) -> None:
    other, hashes = InmemoryTree(algorithm="sha256"), leaves(size)
    for number in range(size):
        other.append_entry(str(number).encode())
    subtree = tiled(hashes).subtree
    for index in {0, size // 2, size - 1}:
        theirs = other.prove_inclusion(index + 1).path
        assert [hashes[index], *inclusion_path(index, size, subtree)] == theirs


def test_a_proof_with_something_else_than_hashes_is_refused_not_an_error() -> None:
    hashes = leaves(3)
    root = root_of(b"".join(hashes))
    assert not is_included(hashes[0], 0, 3, [b"", b"x" * 33], root)
    assert not is_included(b"", 0, 1, [], b"")
    assert not is_consistent(2, root[:5], 3, root, [hashes[2]])
