"""Derived tables: computed by SQL from the rows of a projection, not from events.

A projection's key is the order. Whatever has another key, such as a customer or a day, is derived. Its cost
follows the news: triggers on the source note what each statement changed (`create_derived` makes them), and a
refresh takes these notes away in the very snapshot in which it reads the source.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from tenacity import retry, retry_if_exception_type

from eventstore.engine.projection import Projection
from eventstore.engine.standing import advance, lock, register, standing
from eventstore.log.connection import Connection, one_moment
from eventstore.log.counting import count_rows
from eventstore.log.errors import EventStoreError
from eventstore.log.feed import BEGINNING

EVERY_TEN_MINUTES = "*/10 * * * *"


@dataclass(frozen=True)
class Check:
    """What must not be found in a derived table."""

    name: str
    description: str
    query: str  #: the rows that are wrong: none, where all is well


@dataclass(frozen=True)
class Derived:
    """A table that follows the rows of a projection, a row a group.

    Its migration calls ``create_derived``, which says what a row of the source adds to which group. Where
    every column is a sum of that, this is all. Else ``statement`` selects the rows of the groups that
    changed: it reads them, and what was added to their sums, from ``changed_groups``. A group of which it
    selects no row has none.

    ``also`` is for a group that something else changes too. It adds rows to ``<name>_noted``, gets the
    watermarks ``after`` which and ``until`` which the table is brought, and reads what the further ``queues``
    hold from ``<queue>_noted``.
    """

    name: str
    description: str  #: for the catalog
    source: Projection[Any]
    key: tuple[str, ...]  #: the columns that name a group, a row of the table: its primary key
    statement: Path | None = None  #: the file of the statement
    also: Path | None = None  #: the file of the statement
    queues: tuple[str, ...] = ()  #: those that ``also`` reads
    sums: tuple[str, ...] = ()  #: tables that ``also`` keeps
    schedule: str = EVERY_TEN_MINUTES  #: as cron writes it
    checks: tuple[Check, ...] = ()


class NoQueueError(EventStoreError):
    """What changes in the source of a derived table is not noted."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"nothing is noted for {name}: run `eventstore init`; the migration that makes it must call "
            "create_derived()"
        )


class DerivedRefreshed(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh of a derived table did."""

    written: int  #: rows added or changed
    gone: int  #: rows deleted
    rows: int  #: rows that there are now; of a large table an estimate
    watermark: UUID  #: of the source as it was read
    seconds: float


def refresh_derived(connection: Connection, derived: Derived, *, rebuild: bool = False) -> DerivedRefreshed:
    """Make a derived table what its source says now; two refreshes at once take turns.

    Computed are the groups that have changed since the last time; with ``rebuild``, or where it is not known
    what has changed, all of them. Readers see all of what it does or nothing.
    """
    try:
        return _refresh(connection, derived, rebuild=rebuild)
    except psycopg.IntegrityError:
        if rebuild:
            raise
        # What was noted does not fit what stands: somebody had switched the triggers off.
        return _refresh(connection, derived, rebuild=True)


# Of two refreshes at once the second waits for the first, and then looks again.
@retry(retry=retry_if_exception_type(psycopg.errors.SerializationFailure))
def _refresh(connection: Connection, derived: Derived, *, rebuild: bool) -> DerivedRefreshed:
    started = time.monotonic()
    register(connection, derived.source.name, derived.source.fold_version)
    register(connection, derived.name, derived.source.fold_version)
    with one_moment(connection):
        written, gone, watermark = bring_up(connection, derived, rebuild=rebuild)
    return DerivedRefreshed(
        written=written,
        gone=gone,
        rows=count_rows(connection, derived.name).rows,
        watermark=watermark,
        seconds=time.monotonic() - started,
    )


def bring_up(connection: Connection, derived: Derived, *, rebuild: bool) -> tuple[int, int, UUID]:
    """What a refresh does, in a transaction that sees one moment: returns the rows written and gone, and the
    watermark of the source.
    """
    connection.execute("SET LOCAL eventstore.refreshing = 'on'")  # the guards of derived tables ask
    after = lock(connection, derived.name).watermark
    source = standing(connection, derived.source.name)
    assert source is not None
    queues = [_queue(connection, name) for name in (derived.name, *derived.queues)]
    unknown = after == BEGINNING or source.watermark < after
    if rebuild or unknown or any(_holds_everything(connection, queue) for queue in queues):
        after = BEGINNING
        _note_everything(connection, derived, queues)
    else:
        _take_notes(connection, queues)
    if derived.also is not None:
        connection.execute(derived.also.read_bytes(), {"after": after, "until": source.watermark})
    written, gone = _write(connection, derived, queues[0])
    advance(connection, derived.name, source.watermark, source.fold_version)
    return written, gone, source.watermark


def forget_notes(connection: Connection, derived: Derived) -> None:
    """Make what ``bring_up`` has taken away in this transaction of no effect on the next one in it."""
    for name in (derived.name, *derived.queues):
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(f"{name}_noted")))


class _Queue(NamedTuple):
    """What is noted for a derived table: the columns of ``<name>_changes``."""

    name: str
    key: list[str]
    sums: list[str]

    @property
    def names(self) -> dict[str, sql.Composable]:
        key = sql.SQL(", ").join(map(sql.Identifier, self.key))
        sums = [sql.SQL("sum({0}) AS {0}").format(sql.Identifier(column)) for column in self.sums]
        return {
            "changes": sql.Identifier(f"{self.name}_changes"),
            "noted": sql.Identifier(f"{self.name}_noted"),
            "key": key,
            "grouped": sql.SQL(", ").join([key, *sums]),
        }


def _queue(connection: Connection, name: str) -> _Queue:
    row = connection.execute("SELECT key, sums FROM change_queues WHERE name = %s", (name,)).fetchone()
    if row is None:
        raise NoQueueError(name)
    queue = _Queue(name, *row)
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {noted} (LIKE {changes}) ON COMMIT DELETE ROWS").format(
            **queue.names
        )
    )
    return queue


def _holds_everything(connection: Connection, queue: _Queue) -> bool:
    row = connection.execute(
        sql.SQL("SELECT EXISTS (SELECT FROM {changes} WHERE ({key}) IS NULL)").format(**queue.names)
    ).fetchone()
    return bool(row and row[0])


def _take_notes(connection: Connection, queues: list[_Queue]) -> None:
    for queue in queues:
        connection.execute(
            sql.SQL(
                "WITH taken AS (DELETE FROM {changes} RETURNING *) "
                "INSERT INTO {noted} SELECT {grouped} FROM taken GROUP BY {key}"
            ).format(**queue.names)
        )


def _note_everything(connection: Connection, derived: Derived, queues: list[_Queue]) -> None:
    """Empty the table, and note all rows of the source as new."""
    for table in (derived.name, *derived.sums):
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    for queue in queues:
        connection.execute(sql.SQL("DELETE FROM {changes}").format(**queue.names))
    (query,) = connection.execute(
        "SELECT changes_query(name, NULL, format('%%I', source)) FROM change_queues WHERE name = %s",
        (derived.name,),
    ).fetchone() or ("",)
    insert = sql.SQL("INSERT INTO {noted} ").format(**queues[0].names)
    connection.execute(insert + sql.SQL(query))


def _write(connection: Connection, derived: Derived, queue: _Queue) -> tuple[int, int]:
    """Bring the groups that changed up to date; returns how many rows were written, and how many are gone."""
    table = sql.Identifier(derived.name)
    connection.execute(sql.SQL("ANALYZE {noted}").format(**queue.names))
    columns = [
        column.name
        for column in connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description or ()
    ]
    statement = (
        _sums(table, queue)
        if derived.statement is None
        else sql.SQL(derived.statement.read_text(encoding="utf-8"))
    )

    def listed(alias: str, names: list[str]) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(alias, name) for name in names)

    counts = connection.execute(
        sql.SQL(
            "WITH changed_groups AS MATERIALIZED (SELECT {grouped} FROM {noted} GROUP BY {key}), "
            "fresh AS MATERIALIZED (\n{statement}\n), "
            "gone AS (DELETE FROM {table} o USING changed_groups c WHERE ({old_key}) = ({changed_key}) "
            "AND NOT EXISTS (SELECT FROM fresh f WHERE ({fresh_key}) = ({old_key})) RETURNING 1), "
            "written AS (INSERT INTO {table} ({columns}) SELECT {fresh} FROM fresh f "
            "LEFT JOIN {table} o USING ({key}) WHERE ({fresh}) IS DISTINCT FROM ({old}) "
            "ON CONFLICT ({key}) DO UPDATE SET ({columns}) = ROW ({excluded}) RETURNING 1) "
            "SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM gone)"
        ).format(
            **queue.names,
            statement=statement,
            table=table,
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            fresh=listed("f", columns),
            old=listed("o", columns),
            excluded=listed("excluded", columns),
            fresh_key=listed("f", queue.key),
            old_key=listed("o", queue.key),
            changed_key=listed("c", queue.key),
        )
    ).fetchone()
    assert counts is not None
    return counts[0], counts[1]


def _sums(table: sql.Identifier, queue: _Queue) -> sql.Composed:
    """What stands, and what was added to it; a group in which nothing is left has no row."""
    return sql.SQL(
        "SELECT * FROM (SELECT {key}, {sums} FROM changed_groups c LEFT JOIN {table} o USING ({key})) summed "
        "WHERE ({columns}) <> ({zeros})"
    ).format(
        **queue.names,
        sums=sql.SQL(", ").join(
            sql.SQL("coalesce(o.{0}, 0) + c.{0} AS {0}").format(sql.Identifier(column))
            for column in queue.sums
        ),
        table=table,
        columns=sql.SQL(", ").join(map(sql.Identifier, queue.sums)),
        zeros=sql.SQL(", ").join([sql.SQL("0")] * len(queue.sums)),
    )
