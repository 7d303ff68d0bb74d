"""Epochs: the histories of a log. A restore or a promotion begins one, and readers of another are told."""

from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg

from eventstore.log.connection import Connection
from eventstore.log.errors import EpochError, EventStoreError
from eventstore.log.position import Position

_ENDED, _NOT_BEGUN = "ES003", "ES004"
_COLUMNS = "epoch, since, last_id, kind, reason, declared_by"


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """An epoch that has begun; the first one has no row."""

    epoch: int
    since: datetime
    last_id: UUID  #: up to here the log is the same as before
    kind: str  #: restore: the database went back as a whole; promotion: a replica took over
    reason: str
    declared_by: str | None  #: None where it was found out


def current_epoch(connection: Connection) -> int:
    """The epoch that the log is in: 1, and one more for each restore and promotion."""
    row = connection.execute("SELECT current_epoch()").fetchone()
    assert row is not None
    return int(row[0])


def epochs(connection: Connection) -> list[Epoch]:
    """All from the second on, oldest first."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM log_epochs ORDER BY epoch")
    return [_epoch(row) for row in rows]


def settle_epoch(connection: Connection) -> int:
    """Begin an epoch where the log is written on another server than before and nobody has said so.

    Appends are refused there until somebody has called this. Returns the epoch.
    """
    row = connection.execute("SELECT settle_epoch()").fetchone()
    assert row is not None
    return int(row[0])


def needs_settling(error: psycopg.Error) -> bool:
    """Whether an append was refused because an epoch has to begin first."""
    return error.sqlstate == _NOT_BEGUN


def begin_epoch(
    connection: Connection, kind: str, reason: str, above: UUID | None, declared_by: str
) -> Epoch:
    """Declare that the log was restored, or that a replica took over.

    Its ids lie above what this log knows and ``above``, the highest id that is known elsewhere: from a
    checkpoint, or a follower. Raises EventStoreError where that cannot be.
    """
    return _one(connection, "begin_epoch(%s, %s, %s, %s)", kind, reason, above, declared_by)


def declare_epoch(connection: Connection, epoch: int, reason: str, declared_by: str) -> Epoch:
    """Say of an epoch that was found out why it began, and who stands for that. Raises EventStoreError."""
    return _one(connection, "declare_epoch(%s, %s, %s)", epoch, reason, declared_by)


def _one(connection: Connection, call: LiteralString, *arguments: object) -> Epoch:
    try:
        row = connection.execute(f"SELECT {_COLUMNS} FROM {call}", arguments).fetchone()
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.ObjectNotInPrerequisiteState) as error:
        said = (error.diag.message_primary, error.diag.message_hint)
        raise EventStoreError(". ".join(part for part in said if part)) from None
    assert row is not None
    return _epoch(row)


def check_position(connection: Connection, position: Position) -> int:
    """The epoch of what is read behind ``position`` now.

    Raises EpochError where the log went on otherwise than the reader was shown, DatabaseUnavailableError
    where it is a replica that does not know of the position's epoch yet.
    """
    try:
        try:
            return _check_position(connection, position)
        except psycopg.DatabaseError as error:
            if not needs_settling(error):
                raise
        settle_epoch(connection)
        return _check_position(connection, position)
    except psycopg.Error as error:
        raise epoch_error(error) or error from None


def _check_position(connection: Connection, position: Position) -> int:
    row = connection.execute("SELECT check_position(%s, %s)", tuple(position)).fetchone()
    assert row is not None
    return int(row[0])


def epoch_error(error: psycopg.Error) -> EpochError | None:
    """The error where a position was refused because its epoch has ended; None for any other."""
    if error.sqlstate != _ENDED:
        return None
    said = ". ".join(part for part in (error.diag.message_primary, error.diag.message_hint) if part)
    go_on = msgspec.json.decode(error.diag.message_detail or "", type=_GoOn)
    return EpochError(said, Position(go_on.epoch, go_on.last_id))


class _GoOn(msgspec.Struct):
    epoch: int
    last_id: UUID


def _epoch(row: tuple[Any, ...]) -> Epoch:
    return Epoch(**dict(zip(Epoch.__struct_fields__, row, strict=True)))
