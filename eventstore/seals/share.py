"""Verify a part of the log a night, in turn: what was last verified, and when all will have been, is kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from eventstore.log.connection import Connection
from eventstore.log.settings import policy
from eventstore.seals.claims import Window
from eventstore.seals.judging import WORKERS, Judged, Part, judge
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import clock
from eventstore.seals.standing import Standing, stand
from eventstore.seals.tree import TILE
from eventstore.seals.verifying import Verified, summarise
from eventstore.seals.walk import Progress, Segment

_VERIFIED = (Path(__file__).parent / "sql" / "verified.sql").read_bytes()
#: Parts that failed are verified again each time, up to so many; and so many problems are kept.
_KEPT = 100
_PACE = timedelta(days=1)
#: To look at a checkpoint and its copy takes as long as to verify so many events.
_EVENTS_A_CHECKPOINT = 100


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """How far the walk through the log has come."""

    events: int  #: verified since it began
    begun_at: datetime | None  #: None: the next run begins one
    verified_at: datetime | None  #: when a part was last verified
    all_done_by: datetime | None  #: when it will come to its end, at a run a day
    all_done_at: datetime | None  #: when the one before came to its end: all was verified by then
    failing: int  #: parts that failed and have not been right since
    problems: list[dict[str, Any]]  #: what is wrong with them, as of the last run


class Share(NamedTuple):
    verified: Verified
    round: Round


class _Position(NamedTuple):
    bucket: int
    tile: int
    checkpoint: int


def verify_share(
    connection: Connection,
    outside: Outside,
    *,
    budget: int | None = None,
    workers: int = WORKERS,
    on_progress: Progress = lambda _: None,
) -> Share:
    """Verify what comes next, up to about ``budget`` events, and once more what failed before.

    Without a budget, as many as the setting `verify_events` says; and in turn, too, what was signed. Two at
    once do the same work twice, and no harm.
    """
    position, failed = _read(connection)
    budget = budget or policy(connection).verify_events
    window = Window(position.checkpoint, position.checkpoint + max(budget // _EVENTS_A_CHECKPOINT, 100))
    standing = stand(connection, outside, window=window)
    parts, following = _plan(standing, position, budget)
    again = [part for part in failed if part not in parts]
    judged = judge(connection, standing, [*parts, *again], workers=workers, on_progress=on_progress)
    found = summarise(connection, outside, standing, judged)
    fresh = [one for one in judged if one.part in parts]
    _write(connection, standing, position, following, window.last + 1, fresh, judged, found)
    return Share(found, read_round(connection))


def read_round(connection: Connection) -> Round:
    row = connection.execute(
        "SELECT events, begun_at, verified_at, all_done_by, all_done_at, jsonb_array_length(failing), "
        "problems FROM public.seal_verification"
    ).fetchone()
    assert row is not None
    events, begun_at, verified_at, all_done_by, all_done_at, failing, problems = row
    return Round(
        events=events,
        begun_at=begun_at,
        verified_at=verified_at,
        all_done_by=all_done_by,
        all_done_at=all_done_at,
        failing=failing,
        problems=problems,
    )


def _plan(standing: Standing, position: _Position, budget: int) -> tuple[list[Part], _Position | None]:
    """What a run takes, and where the next one goes on; None: at the beginning."""
    head = standing.claims.head
    if head is None:
        return [], position
    parts: list[Part] = []
    left = max(budget // TILE, 1)
    heads = head.checkpoint.heads
    for bucket in range(position.bucket, len(heads)):
        whole = heads[bucket].size // TILE
        first = min(position.tile, whole) if bucket == position.bucket else 0
        if first + left < whole:
            return [*parts, Part(bucket, Segment(first, first + left))], position._replace(
                bucket=bucket, tile=first + left
            )
        parts.append(Part(bucket, Segment(first)))
        left -= whole - first + 1  # what fills no tile counts as one
        if left <= 0 and bucket + 1 < len(heads):
            return parts, position._replace(bucket=bucket + 1, tile=0)
    return parts, None


def _write(
    connection: Connection,
    standing: Standing,
    position: _Position,
    following: _Position | None,
    checkpoint: int,
    fresh: Sequence[Judged],
    judged: Sequence[Judged],
    found: Verified,
) -> None:
    now = clock(connection)
    events = sum(one.events for one in fresh)
    failing = [[one.part.bucket, *one.part.segment] for one in judged if not one.is_right][:_KEPT]
    ahead = following or _Position(0, 0, 1)
    newest = standing.claims.head.checkpoint.number if standing.claims.head else 0
    connection.execute(
        _VERIFIED,
        {
            "bucket": ahead.bucket,
            "tile": ahead.tile,
            "checkpoint": checkpoint if checkpoint <= newest else 1,
            "done": following is None,
            "now": now,
            "events": events,
            "by": now + _PACE * _runs_left(standing, ahead, max(events, 1)),
            "failing": Jsonb(failing),
            "problems": Jsonb(msgspec.to_builtins(found.problems[:_KEPT])),
            "old_bucket": position.bucket,
            "old_tile": position.tile,
        },
    )


def _runs_left(standing: Standing, ahead: _Position, pace: int) -> int:
    head = standing.claims.head
    if head is None:
        return 0
    sizes = [made.size for made in head.checkpoint.heads[ahead.bucket :]]
    left = sum(sizes) - min(ahead.tile * TILE, sizes[0])
    return -(-left // pace)


def _read(connection: Connection) -> tuple[_Position, list[Part]]:
    row = connection.execute(
        "SELECT bucket, tile, checkpoint, failing FROM public.seal_verification"
    ).fetchone()
    assert row is not None
    bucket, tile, checkpoint, failing = row
    return _Position(bucket, tile, checkpoint), [Part(b, Segment(first, end)) for b, first, end in failing]
