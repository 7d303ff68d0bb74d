"""The state of the store at a glance: the log, its clock, who holds what, who follows it, what is proven."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from eventstore.engine.domain import Domain
from eventstore.engine.proofs import proofs_of, read_models
from eventstore.engine.prover import Proven, proven
from eventstore.engine.rebuild import Unfinished, unfinished
from eventstore.engine.standing import lag_of, standing
from eventstore.kernel.recorded import from_ms
from eventstore.log.clock import Clock, clock
from eventstore.log.connection import Connection
from eventstore.log.consumers import Consumer, consumers
from eventstore.log.counting import count_rows
from eventstore.log.feed import BEGINNING
from eventstore.log.holders import Holder, OverdueHolder, in_words, lock_holders, overdue_holders


class ProjectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    watermark: UUID
    lag_events: int
    lag_seconds: float
    lag_or_more: bool  #: there are more events than were counted
    fold_version: str | None  #: the rules that folded its rows; None before the first refresh
    updated_at: datetime | None
    ahead_of_log: bool  #: it holds an event that the log lacks, and waits for a rebuild


class ConsumerStatus(msgspec.Struct, frozen=True, kw_only=True):
    watermark: UUID
    lag_events: int
    lag_seconds: float
    lag_or_more: bool
    updated_at: datetime  #: when it was last done with something
    owner: str | None  #: the role that may change it; None: whoever saves next
    followed_by: list[int]  #: the sessions (pids) that follow under its name now


class Status(msgspec.Struct, frozen=True, kw_only=True):
    events: int  #: in the log
    events_exact: bool  #: False: it is large, and this an estimate
    horizon: datetime  #: the feed is complete up to here
    horizon_holders: list[dict[str, Any]]  #: sessions whose open append holds the horizon back
    projections: dict[str, ProjectionStatus]
    rebuild: Unfinished | None  #: of all read models, that is under way or was left unfinished
    proofs: dict[str, Proven]  #: of what the read models say
    consumers: dict[str, ConsumerStatus]
    rejects: dict[str, int]  #: unresolved, by reason
    holders: list[Holder]  #: of the locks of the log, and those that wait for one, the oldest first
    overdue_holders: list[OverdueHolder]  #: that have kept others waiting for longer than max_hold
    clock: Clock
    warnings: list[str]  #: what a person should do something about, a sentence each


def status(connection: Connection, domain: Domain[Any]) -> Status:
    """Read the status; writes nothing."""
    events = count_rows(connection, "order_events")
    (horizon_ms,) = connection.execute("SELECT horizon_ms()").fetchone() or (0,)
    with connection.cursor(row_factory=dict_row) as cursor:
        horizon_holders = cursor.execute("SELECT * FROM horizon_holders()").fetchall()
    overdue, ahead = overdue_holders(connection), clock(connection)
    return Status(
        events=events.rows,
        events_exact=events.exact,
        horizon=_datetime(horizon_ms),
        horizon_holders=horizon_holders,
        holders=lock_holders(connection),
        overdue_holders=overdue,
        clock=ahead,
        warnings=[in_words(holder) for holder in overdue] + ahead.warnings,
        projections={name: read_model_status(connection, name) for name in read_models(domain)},
        rebuild=unfinished(connection, domain),
        proofs={proof.name: proven(connection, proof) for proof in proofs_of(domain)},
        consumers={
            consumer.name: consumer_status(connection, consumer) for consumer in consumers(connection)
        },
        rejects=dict(
            connection.execute(
                "SELECT reason, count(*) FROM rejects WHERE resolved_at IS NULL GROUP BY reason ORDER BY 1"
            ).fetchall()
        ),
    )


def read_model_status(connection: Connection, name: str) -> ProjectionStatus:
    """A table that follows the log and how far it is behind; the cost is the same on any log."""
    found = standing(connection, name)
    at = found.watermark if found else BEGINNING
    lag = lag_of(connection, at)
    return ProjectionStatus(
        watermark=at,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        lag_or_more=lag.or_more,
        fold_version=found.fold_version if found else None,
        updated_at=found.updated_at if found else None,
        ahead_of_log=found is not None and found.is_ahead,
    )


def consumer_status(connection: Connection, consumer: Consumer) -> ConsumerStatus:
    """A consumer and how far it is behind the log."""
    lag = lag_of(connection, consumer.watermark)
    return ConsumerStatus(
        watermark=consumer.watermark,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        lag_or_more=lag.or_more,
        updated_at=consumer.updated_at,
        owner=consumer.owner,
        followed_by=consumer.followed_by,
    )


def _datetime(ms: int) -> datetime:
    """An odd id can have moved the horizon of an older release past the year 9999."""
    try:
        return from_ms(ms)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
