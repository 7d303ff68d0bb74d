"""Replay: fold the whole log again, bucket by bucket, into the candidate table beside the live one.

Readers of the live table notice nothing. A bucket commits by itself, so a replay resumes where it failed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.domain.folding import Folding
from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import PROJECTION_LOCK, Connection, sibling
from eventstore.log.feed import horizon, publish_horizon
from eventstore.readmodels.copying import copy_rows
from eventstore.readmodels.events import events_of_bucket
from eventstore.readmodels.fold import fold_orders
from eventstore.readmodels.projection import BUCKETS, ORDERS, Projection
from eventstore.readmodels.quarantine import Poisoned, quarantine

_REPORT_EVERY = 2_000


class BucketReplayed(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of the candidate that now stands."""

    bucket: int
    events: int
    rows: int
    quarantined: int  #: orders set aside because the rules fail on one of their events
    watermark: UUID  #: the bucket holds all events up to this id
    seconds: float


def replay_bucket(
    connection: Connection,
    bucket: int,
    projection: Projection[Any] = ORDERS,
    on_progress: Callable[[int], None] | None = None,
    *,
    folding: Folding | None = None,
    held: bool = False,
) -> BucketReplayed:
    """Fold all events of one bucket into the candidate table, in one transaction with flat memory.

    ``on_progress`` is called now and then with the number of events folded since the last call. ``folding``
    are the rules, by default the current ones. A ``held`` bucket waits for a person to promote it. Two
    replays of the same bucket at once take turns.
    """
    if not 0 <= bucket < BUCKETS:
        raise ValueError(f"bucket {bucket} does not exist: buckets are 0 to {BUCKETS - 1}")
    started = time.monotonic()
    folding = folding or projection.current
    counted = _Counter(on_progress)
    poisoned: list[Poisoned] = []
    with connection.transaction():
        connection.execute(
            "SELECT pg_advisory_xact_lock(%s, hashtext(%s))",
            (PROJECTION_LOCK, projection.candidate_bucket(bucket)),
        )
        connection.execute(
            "DELETE FROM replay_buckets WHERE projection = %s AND bucket = %s", (projection.name, bucket)
        )
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(projection.candidate_bucket(bucket))))
        connection.execute(
            "DELETE FROM quarantine WHERE projection = %s AND order_bucket(order_id) = %s",
            (projection.candidate, bucket),
        )
        with sibling(connection) as source:
            publish_horizon(source)
            until = horizon(source)
            events = counted(events_of_bucket(source, bucket, until))
            rows_of = projection.layout.rows_of if projection.layout else _rows_of
            folded = rows_of(projection, folding, events)
            rows = copy_rows(
                connection,
                projection.candidate_bucket(bucket),
                projection.table_columns,
                _set_aside(folded, poisoned),
            )
        quarantine(connection, projection.candidate, poisoned)
        connection.execute(
            "INSERT INTO replay_buckets (projection, bucket, fold_version, watermark, events, rows, held) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (projection.name, bucket, folding.version, until, counted.events, rows, held),
        )
    return BucketReplayed(
        bucket=bucket,
        events=counted.events,
        rows=rows,
        quarantined=len(poisoned),
        watermark=until,
        seconds=time.monotonic() - started,
    )


def _rows_of(
    projection: Projection[Any], folding: Folding, events: Iterable[FoldEvent]
) -> Iterator[Sequence[Any] | Poisoned]:
    for state in fold_orders(projection, folding, events):
        yield state if isinstance(state, Poisoned) else msgspec.structs.astuple(state)


def _set_aside(rows: Iterable[Sequence[Any] | Poisoned], poisoned: list[Poisoned]) -> Iterator[Sequence[Any]]:
    for row in rows:
        if isinstance(row, Poisoned):
            poisoned.append(row)
        else:
            yield row


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
