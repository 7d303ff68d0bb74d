"""Verify the log: every row as it was sealed, every seal as it was signed, everything signed still there."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.epochs import declared
from eventstore.seals.errors import SealError
from eventstore.seals.judging import WORKERS, Judged, Part, judge, what_is_missing
from eventstore.seals.naming import name
from eventstore.seals.note import VerifierKey
from eventstore.seals.outside import Outside
from eventstore.seals.problems import Problem
from eventstore.seals.standing import Standing, first_tile_after, stand
from eventstore.seals.timestamps import check
from eventstore.seals.walk import Progress, Segment

INTACT, ALTERED, UNKNOWN = "intact", "altered", "unknown"


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification came to."""

    verdict: str  #: intact, altered, or unknown: what was looked at is right, but does not prove enough
    verified: int  #: events whose rows are as they were sealed
    sealed: int  #: events in all that the newest checkpoint seals
    unsealed: int  #: events after it
    checkpoint: int  #: the number of the newest; 0: none
    sealed_at: datetime | None
    stamped_at: datetime | None  #: when an authority saw the newest checkpoint that it stamped; if checked
    problems: list[Problem]
    problem_count: int
    doubts: list[str]  #: why it cannot be told
    gaps: list[str]  #: what a restore took away that was declared
    epochs: list[str]  #: all that were declared, by whom and when: a gap is excused by nothing else


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
    parts = [Part(bucket, _segment(connection, bucket, since)) for bucket in range(standing.buckets)]
    judged = judge(connection, standing, parts, workers=workers, on_progress=on_progress)
    return summarise(connection, outside, standing, judged)


def summarise(
    connection: Connection, outside: Outside, standing: Standing, judged: Sequence[Judged]
) -> Verified:
    """Everything that was found, in words."""
    claims = standing.claims
    problems = list(claims.problems)
    problems += name(connection, standing.tables, [one for part in judged for one in part.differences])
    problems += [problem for part in judged for problem in part.problems]
    if claims.beyond is not None:
        problems += what_is_missing(connection, standing, claims.beyond)
    stamped_at = _stamped_at(connection, outside, problems)
    unnamed = sum(part.difference_count - len(part.differences) for part in judged)
    head = claims.head.checkpoint if claims.head else None
    return Verified(
        verdict=ALTERED if problems else UNKNOWN if claims.doubts else INTACT,
        verified=sum(part.events for part in judged),
        sealed=head.size if head else 0,
        unsealed=standing.unsealed,
        checkpoint=head.number if head else 0,
        sealed_at=head.time if head else None,
        stamped_at=stamped_at,
        problems=problems,
        problem_count=len(problems) + unnamed,
        doubts=claims.doubts,
        gaps=claims.gaps,
        epochs=declared(connection),
    )


def _segment(connection: Connection, bucket: int, since: UUID | None) -> Segment:
    return Segment() if since is None else Segment(first_tile_after(connection, bucket, since))


def _stamped_at(connection: Connection, outside: Outside, problems: list[Problem]) -> datetime | None:
    """What the newest time stamp says, where the certificates of its authority are at hand."""
    if outside.authority is None or outside.authority.certificates is None:
        return None
    found = records.newest_stamp(connection, outside.authority.name)
    if found is None:
        return None
    number, written, reply = found
    try:
        return check(reply, written.encode(), outside.authority.certificates)
    except SealError as error:
        problems.append(Problem(kind="timestamp", detail=f"checkpoint {number}: {error}", checkpoint=number))
        return None
