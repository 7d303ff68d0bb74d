"""Verify the log: every row as it was sealed, every seal as it was signed, everything signed still there."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.log.connection import Connection, sibling
from eventstore.seals import records
from eventstore.seals.claims import Claims, Outsider
from eventstore.seals.folder import read_file
from eventstore.seals.keyring import Keyring
from eventstore.seals.leaves import BUCKETS, buckets
from eventstore.seals.naming import name
from eventstore.seals.note import VerifierKey
from eventstore.seals.outside import Outside
from eventstore.seals.problems import Difference, Problem
from eventstore.seals.tree import Tree
from eventstore.seals.trees import read_trees
from eventstore.seals.walk import Boundary, Claim, Progress, Segment, Walked, walk, walk_rows

INTACT, ALTERED, UNKNOWN = "intact", "altered", "unknown"
WORKERS = 4


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification came to."""

    verdict: str  #: intact, altered, or unknown: what was looked at is right, but it does not prove enough
    verified: int  #: events whose rows are as they were sealed
    sealed: int  #: events in all that the newest checkpoint seals
    unsealed: int  #: events after it
    checkpoint: int  #: the number of the newest; 0: none
    sealed_at: datetime | None
    stamped_at: datetime | None  #: the newest checkpoint that an authority stamped, as it was checked
    problems: list[Problem]
    problem_count: int
    doubts: list[str]  #: why it cannot be told
    gaps: list[str]  #: what a restore took away that was declared


class Standing(NamedTuple):
    """What is claimed of the log, and how it stands, in one moment."""

    claims: Claims
    trees: list[Tree]
    tables: dict[int, sql.Identifier]
    unsealed: int

    def claim(self, bucket: int) -> Claim:
        head = self.claims.head
        assert head is not None
        made = head.checkpoint
        return Claim(
            bucket,
            Boundary(*made.heads[bucket], made.number),
            made.horizon,
            tuple(
                boundary
                for boundary in self.claims.boundaries(bucket, made.number)
                if boundary.size < made.heads[bucket].size
            ),
        )


class Part(NamedTuple):
    """What is to be verified of one bucket."""

    bucket: int
    segment: Segment


class Judged(NamedTuple):
    """What became of a part."""

    part: Part
    events: int
    differences: list[Difference]
    difference_count: int
    problems: list[Problem]

    @property
    def is_right(self) -> bool:
        return not self.difference_count and not self.problems


def verify(
    connection: Connection,
    outside: Outside,
    *,
    keys: Sequence[VerifierKey] = (),
    against: Sequence[Path] = (),
    since: UUID | None = None,
    workers: int = WORKERS,
    on_progress: Progress = lambda _: None,
) -> Verified:
    """Recompute the trees from the rows and compare: with the tiles, and with what was signed.

    ``keys`` are those to trust, where those of the home folder are not; ``against`` are checkpoints that were
    kept elsewhere; ``since`` leaves out the tiles whose events have ids up to it. Writes nothing.
    """
    standing = stand(connection, outside, keys=keys, against=against)
    parts = [Part(bucket, _segment(connection, bucket, since)) for bucket in range(BUCKETS)]
    judged = judge(connection, standing, parts, workers=workers, on_progress=on_progress)
    return summarise(connection, outside, standing, judged)


def stand(
    connection: Connection,
    outside: Outside,
    *,
    keys: Sequence[VerifierKey] = (),
    against: Sequence[Path] = (),
) -> Standing:
    """Read what is claimed, in one snapshot. The folder first: its copies follow the database."""
    copies = [(path, read_file(path)) for path in against]
    newest = outside.folder.newest()
    trusted = list(keys) or outside.trusted()
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        ring = Keyring(trusted, [*records.key_notes(connection), *outside.folder.key_notes()])
        claims = Claims(ring)
        claims.take_database(connection)
        if newest is not None:
            known = takewhile(lambda place: place[:2] <= newest[:2], outside.folder.places())
            claims.take_outside(connection, ((place.path, outside.folder.read(place)) for place in known))
        claims.take_outside(connection, copies, keep=True)
        if not ring.anchors:
            claims.doubts.append(
                "no public key is trusted here, so nobody vouches for the signatures: give --key, as "
                "`eventstore seal-key` prints it where the log is sealed"
            )
        if claims.head is not None and not claims.outside:
            claims.doubts.append(
                f"there is no copy of a checkpoint outside of the database ({outside.folder.path}): events that "
                "were cut off together with their checkpoints would not be missed; give --against"
            )
        elif claims.head is None and claims.beyond is None:
            claims.doubts.append("nothing is sealed yet: `eventstore seal` does that")
        return Standing(claims, read_trees(connection), buckets(connection), _unsealed(connection, claims))


def judge(
    connection: Connection,
    standing: Standing,
    parts: Sequence[Part],
    *,
    workers: int = WORKERS,
    on_progress: Progress = lambda _: None,
) -> list[Judged]:
    """Verify parts of the log, several at a time, each on a connection of its own."""
    if standing.claims.head is None:
        return []

    def run(mine: Sequence[Part]) -> list[Judged]:
        with sibling(connection) as own:
            return [_judge(own, standing, part, on_progress) for part in mine]

    lanes = [parts[lane::workers] for lane in range(workers) if parts[lane::workers]]
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        return [one for lane in pool.map(run, lanes) for one in lane]


def summarise(
    connection: Connection, outside: Outside, standing: Standing, judged: Sequence[Judged]
) -> Verified:
    """Everything that was found, in words."""
    claims = standing.claims
    differences = [one for part in judged for one in part.differences]
    problems = list(claims.problems)
    problems += name(connection, standing.tables, differences)
    problems += [problem for part in judged for problem in part.problems]
    if claims.beyond is not None:
        problems += _what_is_missing(connection, standing, claims.beyond)
    count = len(problems) + sum(part.difference_count - len(part.differences) for part in judged)
    head = claims.head.checkpoint if claims.head else None
    return Verified(
        verdict=ALTERED if problems else UNKNOWN if claims.doubts else INTACT,
        verified=sum(part.events for part in judged),
        sealed=head.size if head else 0,
        unsealed=standing.unsealed,
        checkpoint=head.number if head else 0,
        sealed_at=head.time if head else None,
        stamped_at=None,
        problems=problems,
        problem_count=count,
        doubts=claims.doubts,
        gaps=claims.gaps,
    )


def _judge(connection: Connection, standing: Standing, part: Part, on_progress: Progress) -> Judged:
    claim = standing.claim(part.bucket)
    table = standing.tables.get(part.bucket)
    if table is None:
        gone = Problem(
            kind="bucket_missing",
            detail=f"no table of order_events holds bucket {part.bucket}: {claim.head.size} sealed events are gone",
            bucket=part.bucket,
        )
        return Judged(part, 0, [], 0, [gone] if claim.head.size else [])
    walked = walk(connection, table, claim, standing.trees[part.bucket], part.segment, on_progress)
    if walked.broken is None and walked.bad is None:
        return Judged(part, walked.events, walked.differences.named, walked.differences.count, [])
    rows = walk_rows(connection, table, claim, lambda _: None)
    if rows.bad is None:
        damaged = Problem(
            kind="tile",
            detail=f"the rows of bucket {part.bucket} are as they were sealed, but its tiles are not: "
            f"{walked.broken or 'they lead to another root'}",
            bucket=part.bucket,
        )
        return Judged(part, rows.events, [], 0, [damaged])
    found = walked.differences
    return Judged(part, walked.events, found.named, found.count, [_rewritten(claim, rows)])


def _rewritten(claim: Claim, rows: Walked) -> Problem:
    """Rows that do not lead to what was signed, and tiles that do not tell which: the range is known."""
    assert rows.bad is not None
    first = rows.good.size if rows.good else 0
    since = f"after checkpoint {rows.good.checkpoint}" if rows.good else "from the beginning"
    return Problem(
        kind="rewritten",
        detail=f"bucket {claim.bucket}: the events {first + 1:,} to {rows.bad.size:,} ({since}, up to checkpoint "
        f"{rows.bad.checkpoint}) are not those that were sealed, and the tiles were changed with them; "
        f"it has {rows.events:,} events now",
        bucket=claim.bucket,
        checkpoint=rows.bad.checkpoint,
    )


def _what_is_missing(connection: Connection, standing: Standing, beyond: Outsider) -> Iterator[Problem]:
    """What a checkpoint seals that the database does not have: are its events there, at least?"""
    made = beyond.signed.checkpoint
    has = (
        f"the newest in the database is {standing.claims.head.checkpoint.number}"
        if standing.claims.head
        else "the database has none"
    )
    yield Problem(
        kind="checkpoint_missing",
        detail=f"{beyond.where} is checkpoint {made.number} of {made.time:%Y-%m-%d %H:%M:%S} UTC with "
        f"{made.size:,} events, and {has}: the database is an older one, or was cut",
        checkpoint=made.number,
    )
    for bucket in range(BUCKETS):
        before = standing.claims.head.checkpoint.heads[bucket] if standing.claims.head else None
        earlier = (
            (Boundary(*before, standing.claims.head.checkpoint.number),)
            if before and standing.claims.head
            else ()
        )
        head = Boundary(*made.heads[bucket], made.number)
        claim = Claim(bucket, head, made.horizon, tuple(one for one in earlier if one.size < head.size))
        table = standing.tables.get(bucket)
        if table is None:
            continue
        rows = walk_rows(connection, table, claim, lambda _: None)
        if rows.bad is not None and rows.events < head.size:
            yield Problem(
                kind="cut_off",
                detail=f"bucket {bucket}: {head.size - rows.events:,} of the {head.size:,} events that checkpoint "
                f"{made.number} seals are gone",
                bucket=bucket,
                checkpoint=made.number,
            )
        elif rows.bad is not None and rows.bad.checkpoint == made.number:
            yield _rewritten(claim, rows)


def _segment(connection: Connection, bucket: int, since: UUID | None) -> Segment:
    if since is None:
        return Segment()
    row = connection.execute(
        "SELECT tile FROM public.seal_tiles WHERE bucket = %s AND last_id > %s ORDER BY last_id, tile LIMIT 1",
        (bucket, since),
    ).fetchone()
    if row is None:
        row = connection.execute(
            "SELECT coalesce(max(tile) + 1, 0) FROM public.seal_tiles WHERE bucket = %s", (bucket,)
        ).fetchone()
    return Segment(first=row[0] if row else 0)


def _unsealed(connection: Connection, claims: Claims) -> int:
    head = claims.head
    row = connection.execute(
        "SELECT count(*) FROM public.order_events WHERE id > %s",
        (head.checkpoint.horizon if head else UUID(int=0),),
    ).fetchone()
    return int(row[0]) if row else 0
