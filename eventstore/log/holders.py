"""Who holds the locks of the log, and the end of those that keep others waiting too long."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from psycopg.rows import dict_row

from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection

_COLUMNS = "kind, pid, role, application_name, host(client_addr) AS client_addr, since, gid"
_ALL_COLUMNS = f"{_COLUMNS}, name, floor_ms, state, query, granted, waiting_for"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A session, or a prepared transaction, that holds a lock of the log or waits for one."""

    kind: str  #: append, writers, publishing, consumer, projection, replay, migration or table
    name: str | None  #: the consumer, projection, bucket or table, where that can be told
    floor_ms: int | None
    pid: int | None  #: None for a prepared transaction
    role: str | None
    application_name: str | None
    client_addr: str | None
    state: str | None
    since: datetime | None  #: None where the owner of the store may not see it
    query: str | None
    gid: str | None  #: of a prepared transaction
    granted: bool
    waiting_for: list[int]  #: pids, 0 for a prepared transaction


class OverdueHolder(msgspec.Struct, frozen=True, kw_only=True):
    """One that has kept others waiting for longer than the setting max_hold, and may be ended for it."""

    kind: str
    pid: int | None
    role: str | None
    application_name: str | None
    client_addr: str | None
    since: datetime
    gid: str | None
    remedy: str  #: the statement that ends it
    ended: bool = False


H = TypeVar("H", Holder, OverdueHolder)

_WHAT = {
    "append": "holds readers back with an open append",
    "writers": "keeps appends waiting",
    "publishing": "keeps readers from reading on",
    "consumer": "keeps a consumer that is not its own from being followed",
    "replay": "keeps replays waiting, and may not replay",
    "migration": "keeps upgrades waiting, and may not upgrade",
}


def lock_holders(connection: Connection) -> list[Holder]:
    """All of them, the oldest first."""
    return _rows(connection, Holder, f"SELECT {_ALL_COLUMNS} FROM lock_holders()")


def overdue_holders(connection: Connection) -> list[OverdueHolder]:
    """Those that have kept readers or writers waiting for too long, or by a lock that is not theirs."""
    return _rows(connection, OverdueHolder, f"SELECT {_COLUMNS}, remedy FROM overdue_holders()")


def blocking_holders(connection: Connection) -> list[Holder]:
    """Those that have kept a read model, a bucket or a table for that long while somebody waits for it, and
    whose business that is.

    They may be hard at work, so nobody ends them but a person.
    """
    return _rows(
        connection,
        Holder,
        f"WITH held AS (SELECT * FROM lock_holders()) SELECT {_ALL_COLUMNS} FROM held "
        "WHERE kind IN ('projection', 'replay', 'migration', 'table', 'consumer') AND granted "
        "AND since < clock_timestamp() - (SELECT max_hold FROM settings) "
        "AND pid IN (SELECT unnest(waiting_for) FROM held) AND pid NOT IN (SELECT pid FROM overdue_holders() "
        "WHERE pid IS NOT NULL)",
    )


def end_holders(connection: Connection) -> list[OverdueHolder]:
    """End them, where the owner of the store may; prepared transactions are only reported."""
    return _rows(connection, OverdueHolder, f"SELECT {_COLUMNS}, remedy, ended FROM end_holders()")


def who(holder: Holder | OverdueHolder) -> str:
    """A holder in words, as people look for it in the list of sessions."""
    session = f"pid {holder.pid}" if holder.gid is None else f"prepared transaction {holder.gid!r}"
    details = [f"role {holder.role or 'unknown'}"]
    if holder.gid is None and holder.application_name:
        details.append(f"application {holder.application_name}")
    if holder.client_addr:
        details.append(f"from {holder.client_addr}")
    since = f" since {moment(holder.since)}" if holder.since else ""
    return f"{session} ({', '.join(details)}){since}"


def what(holder: OverdueHolder) -> str:
    """What it does to the others."""
    return _WHAT[holder.kind]


def in_words(holder: OverdueHolder) -> str:
    """Who does what, and what ends it."""
    return f"{who(holder)} {what(holder)}; to end it run: {holder.remedy}"


def _rows(connection: Connection, type_: type[H], query: str) -> list[H]:
    with connection.cursor(row_factory=dict_row) as cursor:
        rows: Sequence[dict[str, Any]] = cursor.execute(query).fetchall()
    return [type_(**row) for row in rows]
