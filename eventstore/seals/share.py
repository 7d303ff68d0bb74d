"""Verify a part of the log a night, in turn: what was last verified, and when all will have been, is kept."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from psycopg.types.json import Jsonb

from eventstore.log.connection import Connection
from eventstore.seals.judging import WORKERS, Judged, Part, judge
from eventstore.seals.leaves import BUCKETS
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import clock
from eventstore.seals.standing import Standing, stand
from eventstore.seals.tree import TILE
from eventstore.seals.verifying import Verified, summarise
from eventstore.seals.walk import Progress, Segment

#: Parts that failed are verified again each time, up to so many; and so many problems are kept.
_KEPT = 100
_PACE = timedelta(days=1)


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


def verify_share(
    connection: Connection,
    outside: Outside,
    *,
    budget: int | None = None,
    workers: int = WORKERS,
    on_progress: Progress = lambda _: None,
) -> Share:
    """Verify what comes next, up to about ``budget`` events, and once more what failed before.

    Without a budget, as many as the setting `verify_events` says. All that was signed is looked at each time.
    Two at once do the same work twice, and no harm.
    """
    position, failed = _read(connection)
    standing = stand(connection, outside)
    parts, following = _plan(standing, position, budget or _setting(connection))
    again = [part for part in failed if part not in parts]
    judged = judge(connection, standing, [*parts, *again], workers=workers, on_progress=on_progress)
    found = summarise(connection, outside, standing, judged)
    fresh = [one for one in judged if one.part in parts]
    _write(connection, standing, position, following, fresh, judged, found)
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
    for bucket in range(position.bucket, BUCKETS):
        whole = head.checkpoint.heads[bucket].size // TILE
        first = min(position.tile, whole) if bucket == position.bucket else 0
        if first + left < whole:
            return [*parts, Part(bucket, Segment(first, first + left))], _Position(bucket, first + left)
        parts.append(Part(bucket, Segment(first)))
        left -= whole - first + 1  # what fills no tile counts as one
        if left <= 0 and bucket + 1 < BUCKETS:
            return parts, _Position(bucket + 1, 0)
    return parts, None


def _write(
    connection: Connection,
    standing: Standing,
    position: _Position,
    following: _Position | None,
    fresh: Sequence[Judged],
    judged: Sequence[Judged],
    found: Verified,
) -> None:
    now = clock(connection)
    events = sum(one.events for one in fresh)
    failing = [[one.part.bucket, *one.part.segment] for one in judged if not one.is_right][:_KEPT]
    ahead = following or _Position(0, 0)
    connection.execute(
        "UPDATE public.seal_verification SET bucket = %(bucket)s, tile = %(tile)s, "
        "begun_at = CASE WHEN %(done)s THEN NULL ELSE coalesce(begun_at, %(now)s) END, "
        "events = CASE WHEN %(done)s THEN 0 ELSE events + %(events)s END, verified_at = %(now)s, "
        "all_done_at = CASE WHEN %(done)s THEN %(now)s ELSE all_done_at END, all_done_by = %(by)s, "
        "failing = %(failing)s, problems = %(problems)s "
        "WHERE (SELECT (bucket, tile) = (%(old_bucket)s, %(old_tile)s) FROM public.seal_verification)",
        {
            "bucket": ahead.bucket,
            "tile": ahead.tile,
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
    row = connection.execute("SELECT bucket, tile, failing FROM public.seal_verification").fetchone()
    assert row is not None
    bucket, tile, failing = row
    return _Position(bucket, tile), [Part(b, Segment(first, end)) for b, first, end in failing]


def _setting(connection: Connection) -> int:
    row = connection.execute("SELECT verify_events FROM public.settings").fetchone()
    assert row is not None
    return int(row[0])
