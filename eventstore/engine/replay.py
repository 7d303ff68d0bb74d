"""Replay: fold the whole log again, bucket by bucket, into the candidate table beside the live one.

Readers of the live table notice nothing. A bucket commits by itself, so a replay resumes where it failed.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec

from eventstore.engine.candidate import empty
from eventstore.engine.fold import write_outcomes
from eventstore.engine.garbage import rarely_collected
from eventstore.engine.projection import Outcome, Projection, Target
from eventstore.engine.quarantine import quarantine
from eventstore.engine.reading import events_of, events_of_bucket
from eventstore.engine.writing import copy_rows, refusal
from eventstore.kernel.folding import Failure, Folding, advance
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import PROJECTION_LOCK, Connection, sibling
from eventstore.log.errors import BusyError
from eventstore.log.feed import horizon, publish_horizon

_REPORT_EVERY = 2_000
_BATCH = 5_000


class BucketReplayed(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of the candidate that now stands."""

    bucket: int
    events: int
    rows: int
    quarantined: int  #: orders set aside because one of their events cannot be folded, or written
    watermark: UUID  #: the bucket holds all events up to this id
    seconds: float


def replay_bucket(
    connection: Connection,
    bucket: int,
    projection: Projection[Any],
    on_progress: Callable[[int], None] | None = None,
    *,
    folding: Folding | None = None,
    for_preview: bool = False,
) -> BucketReplayed:
    """Fold all events of one bucket into the candidate table, in one transaction with flat memory.

    ``on_progress`` is called now and then with the number of events folded since the last call. ``folding``
    are the rules, by default the current ones. One ``for_preview`` waits for a person to promote it. Two
    replays of the same bucket at once take turns.
    """
    buckets = buckets_of(connection)
    if not 0 <= bucket < buckets:
        raise ValueError(f"bucket {bucket} does not exist: buckets are 0 to {buckets - 1}")
    table = projection.candidate_bucket(bucket, buckets)
    started = time.monotonic()
    folding = folding or projection.current
    counted = _Counter(on_progress)
    with rarely_collected, connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
            (PROJECTION_LOCK, table),
        )
        connection.execute(
            "DELETE FROM replay_buckets WHERE projection = %s AND bucket = %s", (projection.name, bucket)
        )
        empty(connection, table)
        if buckets_of(connection) != buckets:  # from here on nobody splits the log anew
            raise BusyError("the log was split into other buckets meanwhile: replay again")
        connection.execute(
            "DELETE FROM quarantine WHERE projection = %s AND order_bucket(order_id) = %s",
            (projection.candidate, bucket),
        )
        with sibling(connection) as source:
            publish_horizon(source)
            until = horizon(source)
            target = projection.target(table, folding)
            events = counted(events_of_bucket(source, projection.events, bucket, buckets, until))
            rows, failures = _write(
                connection, target, target.layout.outcomes(target, events, advance), until
            )
        quarantine(connection, projection.candidate, failures)
        connection.execute(
            "INSERT INTO replay_buckets (projection, bucket, fold_version, watermark, events, rows, held) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (projection.name, bucket, folding.version, until, counted.events, rows, for_preview),
        )
    return BucketReplayed(
        bucket=bucket,
        events=counted.events,
        rows=rows,
        quarantined=len(failures),
        watermark=until,
        seconds=time.monotonic() - started,
    )


def _write(
    connection: Connection, target: Target, outcomes: Iterator[Outcome], until: UUID
) -> tuple[int, list[Failure]]:
    """Copy the rows while they are being folded. A batch with one that is refused is written apart."""
    rows, failures = 0, []
    done = False
    while not done:
        batch = _Batch(outcomes)
        try:
            with connection.transaction():
                rows += _copy(connection, target, batch)
            failures += [outcome.failure for outcome in batch.outcomes if outcome.failure]
        except Exception as error:
            if batch.is_broken or refusal(error) is None:
                raise
            copy = partial(_copy, connection, target)
            again = partial(events_of, connection, target.projection.events, until=until)
            written, stopped = write_outcomes(connection, target, batch.outcomes, again, copy)
            rows, failures = rows + written, failures + stopped
        done = not batch.outcomes
    return rows, failures


def _copy(connection: Connection, target: Target, outcomes: Iterable[Outcome]) -> int:
    kept = (each for outcome in outcomes for each in outcome.kept)
    return copy_rows(connection, target.table, target.columns, kept, target.layout.lines)


class _Batch:
    """The next outcomes, some thousand rows of them, kept as they pass for a second attempt."""

    def __init__(self, outcomes: Iterator[Outcome]) -> None:
        self.outcomes: list[Outcome] = []
        self.is_broken = False  #: whether there was an error where the outcomes come from
        self._source = outcomes

    def __iter__(self) -> Iterator[Outcome]:
        rows = 0
        try:
            for outcome in self._source:
                self.outcomes.append(outcome)
                yield outcome
                rows += len(outcome.kept)
                if rows >= _BATCH:
                    return
        except Exception:
            self.is_broken = True
            raise


class _Counter:
    """Counts events as they pass and reports them in batches."""

    def __init__(self, report: Callable[[int], None] | None) -> None:
        self.events = 0
        self._report = report or (lambda _: None)

    def __call__(self, events: Iterator[FoldEvent]) -> Iterator[FoldEvent]:
        while batch := list(islice(events, _REPORT_EVERY)):
            yield from batch
            self.events += len(batch)
            self._report(len(batch))
