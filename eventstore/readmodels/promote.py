"""Promote a finished replay: make the candidate's rows the live ones, in one transaction."""

import time
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.readmodels.events import events_between
from eventstore.readmodels.fold import fold_into
from eventstore.readmodels.projection import BUCKETS, ORDERS, Projection
from eventstore.readmodels.rows import column_list
from eventstore.readmodels.watermark import lock, register

_CHUNK = 20_000


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """The difference that a promotion made to the live table."""

    added: int
    changed: int
    gone: int
    caught_up: int  #: events that came after the replay had read its bucket
    watermark: UUID
    seconds: float


def candidate_is_complete(connection: Connection, projection: Projection[Any] = ORDERS) -> bool:
    """Whether all buckets stand, folded by the rules of this code."""
    row = connection.execute(
        "SELECT count(*) FROM replay_buckets WHERE projection = %s AND fold_version = %s",
        (projection.name, projection.fold_version),
    ).fetchone()
    return row is not None and row[0] == BUCKETS


def promote(connection: Connection, projection: Projection[Any] = ORDERS) -> Promoted | None:
    """Catch the candidate up and apply its difference to the live table; None where it is not complete.

    Readers see all of the old rows or all of the new ones. Grants, views and foreign keys stay.
    """
    started = time.monotonic()
    register(connection, projection)
    with connection.transaction():
        live = lock(connection, projection)
        # Waits for a replay of any bucket that is under way: it has its row deleted and not yet written.
        buckets = connection.execute(
            "SELECT watermark FROM replay_buckets WHERE projection = %s FOR UPDATE", (projection.name,)
        ).fetchall()
        if not candidate_is_complete(connection, projection):
            return None
        watermarks = [UUID(str(row[0])) for row in buckets]
        until = max(live, *watermarks)
        caught_up = _catch_up(connection, projection, min(watermarks), until)
        added, changed, gone = _apply_difference(connection, projection)
        connection.execute(
            "UPDATE projections SET watermark = %s, fold_version = %s, updated_at = now() WHERE name = %s",
            (until, projection.fold_version, projection.name),
        )
        connection.execute("DELETE FROM replay_buckets WHERE projection = %s", (projection.name,))
        connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(projection.candidate)))
    return Promoted(
        added=added,
        changed=changed,
        gone=gone,
        caught_up=caught_up,
        watermark=until,
        seconds=time.monotonic() - started,
    )


def _catch_up(connection: Connection, projection: Projection[Any], after: UUID, until: UUID) -> int:
    """Fold into the candidate what its buckets have not seen up to ``until``."""
    events = 0
    while chunk := events_between(connection, after, until, _CHUNK):
        fold_into(connection, projection, projection.candidate, chunk)
        after = chunk[-1].id
        events += len(chunk)
    return events


def _apply_difference(connection: Connection, projection: Projection[Any]) -> tuple[int, int, int]:
    """Make the live table equal to the candidate, touching only rows that differ."""
    names = {
        "live": sql.Identifier(projection.name),
        "candidate": sql.Identifier(projection.candidate),
        "columns": column_list(projection),
        "live_columns": sql.SQL(", ").join(sql.Identifier("o", column) for column in projection.columns),
        "new_columns": sql.SQL(", ").join(sql.Identifier("c", column) for column in projection.columns),
        "assignments": sql.SQL(", ").join(
            sql.SQL("{0} = c.{0}").format(sql.Identifier(column)) for column in projection.columns
        ),
    }
    gone = connection.execute(
        sql.SQL(
            "DELETE FROM {live} o WHERE NOT EXISTS (SELECT FROM {candidate} c WHERE c.order_id = o.order_id)"
        ).format(**names)
    ).rowcount
    changed = connection.execute(
        sql.SQL(
            "UPDATE {live} o SET {assignments} FROM {candidate} c WHERE c.order_id = o.order_id "
            "AND ({live_columns}) IS DISTINCT FROM ({new_columns})"
        ).format(**names)
    ).rowcount
    added = connection.execute(
        sql.SQL(
            "INSERT INTO {live} ({columns}) SELECT {new_columns} FROM {candidate} c "
            "WHERE NOT EXISTS (SELECT FROM {live} o WHERE o.order_id = c.order_id)"
        ).format(**names)
    ).rowcount
    return added, changed, gone
