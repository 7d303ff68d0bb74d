"""Who holds what others wait for: sessions and prepared transactions, with the statement that ends each."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg.rows import namedtuple_row

from eventstore.kernel.moments import moment
from eventstore.kernel.shown import printable
from eventstore.log.connection import LOCK_TIMEOUT_S, Connection, open_connection
from eventstore.log.errors import DatabaseUnavailableError

_SHOWN = 3
#: Who only reads a table is in nobody's way, except in that of an ALTER or a TRUNCATE.
_HARMLESS = "AccessShareLock"

# Locks on rows are not in pg_locks: who changed a row holds RowExclusiveLock on its table, who locked one
# RowShareLock. An advisory lock is taken to be one of the log: nobody else has business in its database.
_HOLDERS = """
    SELECT DISTINCT ON (l.pid, p.gid)
           CASE l.locktype WHEN 'relation' THEN l.relation::regclass::text ELSE 'a lock of the log' END
               AS what,
           l.pid, coalesce(a.usename, p.owner) AS role, a.application_name, a.state,
           coalesce(a.xact_start, a.state_change, p.prepared) AS since, p.gid,
           l.mode = %(harmless)s AS harmless
      FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
      LEFT JOIN pg_locks t ON l.pid IS NULL AND t.pid IS NULL AND t.virtualtransaction = l.virtualtransaction
                          AND t.locktype = 'transactionid' AND t.granted
      LEFT JOIN pg_prepared_xacts p ON p.transaction = t.transactionid
      LEFT JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
     WHERE l.granted AND l.pid IS DISTINCT FROM pg_backend_pid() AND (l.pid IS NOT NULL OR p.gid IS NOT NULL)
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (l.locktype = 'advisory' OR (l.locktype = 'relation' AND c.relnamespace = 'public'::regnamespace))
       AND a.backend_type IS DISTINCT FROM 'autovacuum worker'
     ORDER BY l.pid, p.gid, harmless, l.locktype <> 'advisory', l.relation
"""


class Holder(NamedTuple):
    """A session, or a prepared transaction, that others may be waiting for."""

    what: str
    pid: int | None
    role: str | None
    application_name: str | None
    state: str | None
    since: datetime | None
    gid: str | None

    def __str__(self) -> str:
        since = f" since {moment(self.since)}" if self.since else ""
        if self.gid is not None:
            gid = self.gid.replace("'", "''")
            return printable(
                f"the prepared transaction '{gid}' of {self.role}{since}, which holds {self.what}: "
                f"end it with ROLLBACK PREPARED '{gid}' or COMMIT PREPARED '{gid}'"
            )
        about = [f"role {self.role}" if self.role else "", self.application_name or "", self.state or ""]
        return printable(
            f"pid {self.pid} ({', '.join(filter(None, about))}{since}), which holds {self.what}: "
            f"end it with SELECT pg_terminate_backend({self.pid})"
        )


def who_holds(url: str) -> str:
    """The reason for a wait that was too long, as a sentence; asks the database at ``url``."""
    waited = f"waited {LOCK_TIMEOUT_S} seconds for a lock"
    try:
        found = holders(url)
    except (psycopg.Error, DatabaseUnavailableError) as error:
        return f"{waited}, and could not find out who holds it ({' '.join(str(error).split())})"
    if not found:
        return f"{waited}, which is free again: run it again"
    named = [str(holder) for holder in found[:_SHOWN]]
    named += [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return f"{waited}, held {'perhaps ' if len(found) > 1 else ''}by {'; '.join(named)}"


def holders(url: str) -> list[Holder]:
    """The holders of locks in the way of others, the oldest first, as a new session sees them.

    Those that have held theirs for as long as we wait, where there are any: the others come and go.
    """
    with open_connection(url, application_name="eventstore: who holds it") as connection:
        connection.execute("SET statement_timeout = '5s'")
        connection.execute("SET lock_timeout = '1s'")
        with connection.cursor(row_factory=namedtuple_row) as cursor:
            rows: list[Any] = cursor.execute(_HOLDERS, {"harmless": _HARMLESS}).fetchall()
        found = {
            (row.pid, row.gid): Holder(
                row.what, row.pid, row.role, row.application_name, row.state, _utc(row.since), row.gid
            )
            for row in [row for row in rows if not row.harmless] or rows
        }
        found |= {(holder.pid, holder.gid): holder for holder in _of_the_log(connection)}
        (now,) = connection.execute("SELECT clock_timestamp()").fetchone() or (datetime.now(UTC),)
    begun = now.astimezone(UTC) - timedelta(seconds=LOCK_TIMEOUT_S)
    oldest_first = sorted(found.values(), key=lambda holder: holder.since or begun)
    return [holder for holder in oldest_first if (holder.since or begun) <= begun] or oldest_first


def _of_the_log(connection: Connection) -> list[Holder]:
    """What the log knows of its own locks, where the role may ask: it sees other roles' sessions too.

    Nothing where what it asks is locked itself.
    """
    try:
        rows = connection.execute(
            "SELECT kind, name, pid, role, application_name, state, since, gid FROM lock_holders() "
            "WHERE granted AND pid IS DISTINCT FROM pg_backend_pid()"
        ).fetchall()
    except (
        psycopg.errors.UndefinedFunction,
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.LockNotAvailable,
    ):
        return []
    return [
        Holder(" ".join(filter(None, (kind, name))), pid, role, application, state, _utc(since), gid)
        for kind, name, pid, role, application, state, since, gid in rows
    ]


def _utc(at: datetime | None) -> datetime | None:
    return at and at.astimezone(UTC)
