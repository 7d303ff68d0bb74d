"""The state of the store at a glance: the log, the horizon and who holds it, projections, rejects."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from eventstore.domain.recorded import from_ms
from eventstore.log.connection import Connection
from eventstore.readmodels.lag import lag_of
from eventstore.readmodels.registry import PROJECTIONS
from eventstore.readmodels.watermark import watermark


class ProjectionStatus(msgspec.Struct, frozen=True, kw_only=True):
    watermark: UUID
    lag_events: int
    lag_seconds: float
    fold_version: str | None  #: the rules that folded its rows; None before the first refresh
    updated_at: datetime | None


class ConsumerStatus(msgspec.Struct, frozen=True, kw_only=True):
    watermark: UUID
    lag_events: int
    lag_seconds: float
    updated_at: datetime  #: when it was last done with something


class Status(msgspec.Struct, frozen=True, kw_only=True):
    events: int
    horizon: datetime  #: the feed is complete up to here
    horizon_holders: list[dict[str, Any]]  #: sessions whose open append holds the horizon back
    projections: dict[str, ProjectionStatus]
    consumers: dict[str, ConsumerStatus]
    rejects: dict[str, int]  #: unresolved, by reason


def status(connection: Connection) -> Status:
    """Read the status; writes nothing."""
    events, horizon_ms = connection.execute(
        "SELECT count(*), (SELECT horizon_ms()) FROM order_events"
    ).fetchone() or (0, 0)
    with connection.cursor(row_factory=dict_row) as cursor:
        holders = cursor.execute("SELECT * FROM horizon_holders()").fetchall()
    return Status(
        events=events,
        horizon=from_ms(horizon_ms),
        horizon_holders=holders,
        projections={
            projection.name: _projection_status(connection, projection) for projection in PROJECTIONS
        },
        consumers={
            name: _consumer_status(connection, at, updated_at)
            for name, at, updated_at in connection.execute(
                "SELECT name, watermark, updated_at FROM consumers ORDER BY name"
            ).fetchall()
        },
        rejects=dict(
            connection.execute(
                "SELECT reason, count(*) FROM rejects WHERE resolved_at IS NULL GROUP BY reason ORDER BY 1"
            ).fetchall()
        ),
    )


def _projection_status(connection: Connection, projection: Any) -> ProjectionStatus:
    at = watermark(connection, projection)
    lag = lag_of(connection, at)
    row = connection.execute(
        "SELECT fold_version, updated_at FROM projections WHERE name = %s", (projection.name,)
    ).fetchone()
    return ProjectionStatus(
        watermark=at,
        lag_events=lag.events,
        lag_seconds=lag.seconds,
        fold_version=row[0] if row else None,
        updated_at=row[1] if row else None,
    )


def _consumer_status(connection: Connection, at: UUID, updated_at: datetime) -> ConsumerStatus:
    lag = lag_of(connection, at)
    return ConsumerStatus(watermark=at, lag_events=lag.events, lag_seconds=lag.seconds, updated_at=updated_at)
