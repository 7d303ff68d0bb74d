"""Judge parts of the log, several at a time: is every event as it was sealed, and if not, what is wrong?"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import NamedTuple

import psycopg

from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection, sibling
from eventstore.seals.claims import Outsider
from eventstore.seals.problems import Difference, Problem
from eventstore.seals.standing import Standing
from eventstore.seals.walk import Boundary, Claim, Progress, Segment, Walked, walk, walk_rows

#: Sessions at a time: the server computes the hashes, a session a core.
WORKERS = 4
_CANCEL_S = 5


class _StoppedError(Exception):
    """Another session has ended: the answer is not wanted any more."""


class Part(NamedTuple):
    """What is to be verified of one bucket."""

    bucket: int
    segment: Segment


class Judged(NamedTuple):
    """What became of a part."""

    part: Part
    events: int  #: that are as they were sealed
    differences: list[Difference]  #: the first of them
    difference_count: int
    problems: list[Problem]

    @property
    def is_right(self) -> bool:
        return not self.difference_count and not self.problems


def judge(
    connection: Connection,
    standing: Standing,
    parts: Sequence[Part],
    *,
    workers: int = WORKERS,
    on_progress: Progress = lambda _: None,
) -> list[Judged]:
    """Verify parts, each worker on a connection of its own."""
    if standing.claims.head is None:
        return []

    stopping, sessions = Event(), list[Connection]()

    def go_on(events: int) -> None:
        if stopping.is_set():
            raise _StoppedError
        on_progress(events)

    def run(mine: Sequence[Part]) -> list[Judged]:
        with sibling(connection) as own:
            sessions.append(own)
            found = []
            for part in mine:
                go_on(0)
                found.append(_judge(own, standing, part, go_on))
            return found

    lanes = [parts[lane::workers] for lane in range(workers) if parts[lane::workers]]
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        try:
            return [one for lane in pool.map(run, lanes) for one in lane]
        except BaseException:  # one has failed, or somebody pressed Ctrl-C: the pool waits for all of them
            stopping.set()
            for session in list(sessions):
                with suppress(psycopg.Error):
                    session.cancel_safe(timeout=_CANCEL_S)
            raise


def what_is_missing(connection: Connection, standing: Standing, beyond: Outsider) -> Iterator[Problem]:
    """Where a checkpoint outside goes beyond those of the database: are its events there, at least?"""
    made = beyond.signed.checkpoint
    head = standing.claims.head.checkpoint if standing.claims.head else None
    has = f"the newest in the database is {head.number}" if head else "the database has none"
    yield Problem(
        kind="checkpoint_missing",
        detail=f"{beyond.where} is checkpoint {made.number} of {moment(made.time)} with "
        f"{counted(made.size, 'event')}, and {has}: the database is an older one, or was cut",
        checkpoint=made.number,
    )
    for bucket in range(len(made.heads)):
        if bucket not in standing.tables:
            continue  # judged already
        wanted = Boundary(*made.heads[bucket], made.number, made.number)
        earlier = (Boundary(*head.heads[bucket], head.number, head.number),) if head else ()
        claim = Claim(
            bucket, wanted, made.horizon, tuple(known for known in earlier if known.size < wanted.size)
        )
        rows = walk_rows(connection, standing.tables[bucket], claim, lambda _: None)
        if rows.bad is not None and rows.events < wanted.size:
            yield Problem(
                kind="cut_off",
                detail=f"bucket {bucket}: of {counted(wanted.size, 'event')} that checkpoint "
                f"{made.number} seals "
                f"{wanted.size - rows.events:,} are gone",
                bucket=bucket,
                checkpoint=made.number,
            )
        elif rows.bad is not None and rows.bad.checkpoint == made.number:
            yield _rewritten(claim, rows)


def _judge(connection: Connection, standing: Standing, part: Part, on_progress: Progress) -> Judged:
    claim = standing.claim(part.bucket)
    table = standing.tables.get(part.bucket)
    if table is None:
        gone = Problem(
            kind="bucket_missing",
            detail=f"order_events has no table for bucket {part.bucket}: "
            f"{counted(claim.head.size, 'event is', 'events are')} gone",
            bucket=part.bucket,
        )
        return Judged(part, 0, [], 0, [gone] if claim.head.size else [])
    walked = walk(connection, table, claim, standing.trees[part.bucket], part.segment, on_progress)
    found = walked.differences
    if walked.broken is None and walked.bad is None:
        return Judged(part, walked.events, found.named, found.count, [])
    # The tiles do not lead to what was signed: the rows have to tell for themselves.
    rows = walk_rows(connection, table, claim, lambda _: on_progress(0))
    if rows.bad is not None:
        return Judged(part, walked.events, found.named, found.count, [_rewritten(claim, rows)])
    damaged = Problem(
        kind="tile",
        detail=f"the rows of bucket {part.bucket} are as they were sealed, but its tiles are not: "
        f"{walked.broken or 'they lead to another root'}",
        bucket=part.bucket,
    )
    return Judged(part, rows.events, [], 0, [damaged])


def _rewritten(claim: Claim, rows: Walked) -> Problem:
    """Rows that do not lead to what was signed, and tiles that do not tell which: the range is known."""
    assert rows.bad is not None
    first = rows.good.size + 1 if rows.good else 1
    since = f"after checkpoint {rows.good.last}" if rows.good else "from the beginning"
    return Problem(
        kind="rewritten",
        detail=f"bucket {claim.bucket}: its events number {first:,} to {rows.bad.size:,}, {since} up to "
        f"checkpoint {rows.bad.checkpoint}, are not those that were sealed, and the tiles do not tell which; "
        f"there are {rows.events:,} now",
        bucket=claim.bucket,
        checkpoint=rows.bad.checkpoint,
    )
