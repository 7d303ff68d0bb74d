"""Walk through one bucket: compare its rows with its tiles, and the tiles with what was signed.

Whatever the tiles say, a row that was changed cannot lead to the signed root. They are how its name is found.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.seals.leaves import BEGINNING, Leaves, prefer_index, read_leaves
from eventstore.seals.problems import Difference, Differences, compare
from eventstore.seals.tree import HASH_BYTES, ID_BYTES, TILE, Edge, Tree, root_of

#: Tiles that are read at once: 16,384 events, 1.5 MB of hashes and ids.
CHUNK = 64
_ROOTS = 10_000

Progress = Callable[[int], None]


class Boundary(NamedTuple):
    """What a checkpoint says of the tree of a bucket."""

    size: int
    root: bytes
    checkpoint: int  #: the first that says it
    last: int  #: the last that says it: nothing came in between


class Claim(NamedTuple):
    """What was signed of a bucket."""

    bucket: int
    head: Boundary
    horizon: UUID  #: the head has all events up to here
    earlier: tuple[Boundary, ...]  #: what checkpoints before the head say, the smallest size first

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        return (*self.earlier, self.head)


class Segment(NamedTuple):
    """Which tiles of a bucket are compared with rows: from ``first`` up to, not including, ``end``."""

    first: int = 0
    end: int | None = None  #: None: all that follow, and the events that fill no tile yet


class Walked(NamedTuple):
    """What a walk has found."""

    events: int  #: whose rows are as they were sealed
    differences: Differences
    bad: Boundary | None  #: the first that the leaves do not lead to
    good: Boundary | None  #: the last before that they do lead to
    broken: str | None  #: why the tiles could not be used; nothing else counts then


class BrokenTilesError(Exception):
    """The tiles are not there, or contradict themselves."""


def walk(
    connection: Connection,
    table: sql.Identifier,
    claim: Claim,
    stored: Tree,
    segment: Segment,
    on_progress: Progress,
) -> Walked:
    """Compare the rows of a segment with the tiles, and all tiles of the bucket with what was signed."""
    differences = Differences()
    signed = _Signed(claim)
    events = 0
    try:
        with connection.transaction():
            prefer_index(connection)
            for stretch in _stretches(connection, claim, stored, segment):
                if stretch.is_compared:
                    found = read_leaves(connection, table, stretch.after, stretch.until)
                    differs = _compare(claim.bucket, stretch, found)
                    differences.add(differs)
                    events += stretch.leaves_count - sum(one.kind != "inserted" for one in differs)
                    on_progress(found.events)
                signed.follow(stretch)
    except BrokenTilesError as error:
        return Walked(0, differences, None, None, str(error))
    return Walked(events, differences, signed.bad, signed.good, None)


def walk_rows(connection: Connection, table: sql.Identifier, claim: Claim, on_progress: Progress) -> Walked:
    """Compare the rows alone with what was signed: slower to tell, but whatever became of the tiles."""
    tree, after = Tree(), BEGINNING
    checks = _Checks(claim.boundaries)
    with connection.transaction():
        prefer_index(connection)
        while (until := next_stop(connection, table, after, claim.horizon)) is not None:
            found = read_leaves(connection, table, after, until)
            while (wanted := checks.next_size) is not None and wanted <= tree.size + found.events:
                part, _ = tree.extended(found.hashes[: (wanted - tree.size) * HASH_BYTES], b"")
                checks.check(part.root)
            tree, _ = tree.extended(found.hashes, b"")
            after = until
            on_progress(found.events)
    if tree.size != claim.head.size:
        checks.fail_next(claim.head)  # events were cut off, or put behind the last
    return Walked(tree.size, Differences(), checks.bad, checks.good, None)


def next_stop(connection: Connection, table: sql.Identifier, after: UUID, until: UUID) -> UUID | None:
    """The id up to which a chunk of rows goes; None behind the last."""
    if after >= until:
        return None
    row = connection.execute(
        sql.SQL("SELECT id FROM {table} WHERE id > %s AND id <= %s ORDER BY id OFFSET %s LIMIT 1").format(
            table=table
        ),
        (after, until, CHUNK * TILE - 1),
    ).fetchone()
    return row[0] if row else until


class _Stretch(NamedTuple):
    """Consecutive leaves of the tree, as they are stored; of those that are not compared, the roots only."""

    is_compared: bool
    after: UUID
    until: UUID
    ids: bytes
    leaves: bytes
    roots: bytes  #: of its whole tiles

    @property
    def leaves_count(self) -> int:
        return len(self.leaves) // HASH_BYTES


def _stretches(connection: Connection, claim: Claim, stored: Tree, segment: Segment) -> Iterator[_Stretch]:
    """The whole bucket, in order."""
    whole = claim.head.size // TILE
    if stored.size < claim.head.size:
        raise BrokenTilesError(f"the tree of bucket {claim.bucket} was cut")
    first = min(segment.first, whole)
    end = whole if segment.end is None else min(segment.end, whole)
    after = BEGINNING
    for stretch in _skipped(connection, claim.bucket, 0, first, after):
        yield stretch
        after = stretch.until
    for start in range(first, end, CHUNK):
        stretch = _read_tiles(connection, claim.bucket, start, min(start + CHUNK, end), after)
        yield stretch
        after = stretch.until
    for stretch in _skipped(connection, claim.bucket, end, whole, after):
        yield stretch
        after = stretch.until
    ids, leaves = _rest(connection, claim, stored, whole)
    yield _Stretch(segment.end is None, after, claim.horizon, ids, leaves, b"")


def _skipped(connection: Connection, bucket: int, first: int, end: int, after: UUID) -> Iterator[_Stretch]:
    for start in range(first, end, _ROOTS):
        stop = min(start + _ROOTS, end)
        rows = connection.execute(
            "SELECT tile, last_id, root FROM public.seal_tiles "
            "WHERE bucket = %s AND tile >= %s AND tile < %s ORDER BY tile",
            (bucket, start, stop),
            binary=True,
        ).fetchall()
        _refuse_gaps(bucket, start, stop, [row[0] for row in rows])
        until = rows[-1][1]
        yield _Stretch(False, after, until, b"", b"", b"".join(row[2] for row in rows))
        after = until


def _read_tiles(connection: Connection, bucket: int, first: int, end: int, after: UUID) -> _Stretch:
    rows = connection.execute(
        "SELECT tile, last_id, ids, leaves, root FROM public.seal_tiles "
        "WHERE bucket = %s AND tile >= %s AND tile < %s ORDER BY tile",
        (bucket, first, end),
        binary=True,
    ).fetchall()
    _refuse_gaps(bucket, first, end, [row[0] for row in rows])
    for tile, last_id, ids, leaves, root in rows:
        if len(ids) != TILE * ID_BYTES or len(leaves) != TILE * HASH_BYTES:
            raise BrokenTilesError(f"tile {tile} of bucket {bucket} has another length")
        if ids[-ID_BYTES:] != last_id.bytes or root != root_of(leaves):
            raise BrokenTilesError(f"tile {tile} of bucket {bucket} contradicts itself")
    ids, leaves, roots = (b"".join(row[column] for row in rows) for column in (2, 3, 4))
    return _Stretch(True, after, rows[-1][1], ids, leaves, roots)


def _rest(connection: Connection, claim: Claim, stored: Tree, whole: int) -> tuple[bytes, bytes]:
    """The ids and leaves behind the whole tiles of the head; later events may have filled their tile."""
    ids, leaves = stored.ids, stored.leaves
    if stored.edge.subtrees > whole:
        if claim.head.size == whole * TILE:
            return b"", b""
        tile = _read_tiles(connection, claim.bucket, whole, whole + 1, BEGINNING)
        ids, leaves = tile.ids, tile.leaves
    count = claim.head.size - whole * TILE
    return ids[: count * ID_BYTES], leaves[: count * HASH_BYTES]


def _refuse_gaps(bucket: int, first: int, end: int, tiles: Sequence[int]) -> None:
    if tiles != list(range(first, end)):
        missing = sorted(set(range(first, end)) - set(tiles))
        raise BrokenTilesError(f"tile {missing[0]} of bucket {bucket} is missing")


def _compare(bucket: int, stretch: _Stretch, found: Leaves) -> list[Difference]:
    if stretch.ids == found.ids and stretch.leaves == found.hashes:
        return []
    differs = compare(bucket, stretch.ids, stretch.leaves, found.ids, found.hashes)
    # A leaf holds its id: an event that has a sealed leaf was never under another id.
    sealed = {one.sealed for one in differs if one.kind == "removed"}
    if not differs or any(one.found in sealed for one in differs if one.kind == "inserted"):
        raise BrokenTilesError(f"tiles of bucket {bucket} have their ids, or their leaves, in disorder")
    return differs


class _Checks:
    """What was signed, one after the other, against what is found."""

    def __init__(self, boundaries: Sequence[Boundary]) -> None:
        self._left = list(reversed(boundaries))
        self.good: Boundary | None = None
        self.bad: Boundary | None = None

    @property
    def next_size(self) -> int | None:
        return self._left[-1].size if self._left and self.bad is None else None

    def check(self, root: bytes) -> None:
        boundary = self._left.pop()
        if boundary.root == root:
            self.good = boundary
        else:
            self.bad = boundary

    def skip(self) -> None:
        self._left.pop()

    def fail_next(self, last: Boundary) -> None:
        """There are no leaves left to check what is left to be checked, or some too many."""
        if self.bad is None:
            self.bad = self._left[-1] if self._left else last


class _Signed:
    """Follows the stored leaves and checks every root that was signed on the way."""

    def __init__(self, claim: Claim) -> None:
        self._edge = Edge()
        self._checks = _Checks(claim.boundaries)

    @property
    def good(self) -> Boundary | None:
        return self._checks.good

    @property
    def bad(self) -> Boundary | None:
        return self._checks.bad

    def follow(self, stretch: _Stretch) -> None:
        for number in range(len(stretch.roots) // HASH_BYTES):
            start = self._edge.subtrees * TILE
            root = stretch.roots[number * HASH_BYTES : (number + 1) * HASH_BYTES]
            leaves = stretch.leaves[number * TILE * HASH_BYTES : (number + 1) * TILE * HASH_BYTES]
            self._check_within(start, start + TILE - 1, leaves)
            self._edge = self._edge.grown(root)
            self._check_within(start + TILE, start + TILE, b"")
        if not stretch.roots:
            start = self._edge.subtrees * TILE
            self._check_within(start, start + len(stretch.leaves) // HASH_BYTES, stretch.leaves)

    def _check_within(self, start: int, last: int, leaves: bytes) -> None:
        """Check what was signed of the sizes from ``start`` to ``last``, if the leaves between are known."""
        while (wanted := self._checks.next_size) is not None and wanted <= last:
            if wanted == start:
                self._checks.check(self._edge.root())
            elif leaves:
                self._checks.check(self._edge.root(root_of(leaves[: (wanted - start) * HASH_BYTES])))
            else:
                self._checks.skip()
