"""Write rows: by COPY, fast, and around those that the table refuses, so that everything else is written."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql

from eventstore.log.connection import Connection

_BATCH = 500
_ARRAYS = {tuple, list}
_encode = msgspec.json.Encoder().encode

#: Data that does not fit, constraints, a view's check, too large for the server, a trigger that raises.
_CLASSES = ("22", "23", "44", "54", "P0")

T = TypeVar("T")


class RefusedError(Exception):
    """A row cannot even be sent."""


def copy_rows(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Any],
    as_row: Callable[[Any], Sequence[Any]] | None = None,
) -> int:
    """Append ``rows`` to ``table`` and return how many they were. Tuples and lists of text are SQL arrays.

    ``as_row`` makes a row of each. Raises RefusedError for one that has no text.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL 'null', QUOTE '\"', ESCAPE '\\')").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    copied = 0
    rows = iter(rows)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        while batch := list(islice(rows, _BATCH)):
            copy.write(_lines(batch if as_row is None else map(as_row, batch)))
            copied += len(batch)
    return copied


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    try:
        return b"".join(map(_line, rows))
    except MemoryError:
        raise
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def _line(row: Sequence[Any]) -> bytes:
    values = [_array(value) if type(value) in _ARRAYS else value for value in row]
    line = _encode(values)
    if b"\\" in line:  # JSON has escapes that CSV lacks
        return ",".join(map(_csv, values)).encode() + b"\n"
    return line[1:-1] + b"\n"


def _array(value: Sequence[str]) -> str:
    return "{" + ",".join(f'"{_escaped(item)}"' for item in value) + "}" if value else "{}"


def _csv(value: Any) -> str:
    return f'"{_escaped(value)}"' if isinstance(value, str) else _encode(value).decode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def delete_rows(connection: Connection, table: str, order_ids: list[UUID]) -> int:
    """Delete all rows of the given orders; returns how many."""
    if not order_ids:
        return 0
    return connection.execute(
        sql.SQL("DELETE FROM {} WHERE order_id = ANY(%s)").format(sql.Identifier(table)), (order_ids,)
    ).rowcount


def refusal(error: Exception) -> str | None:
    """Why a row is refused, in the words of the database; None for an error that is not the row's fault."""
    if isinstance(error, RefusedError):
        return str(error)
    if not isinstance(error, psycopg.Error):
        return None
    if not (error.sqlstate or "").startswith(_CLASSES):
        unsent = isinstance(error, psycopg.DataError) and error.sqlstate is None
        return f"DataError: {error}" if unsent else None
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return f"{type(error).__name__}: {error.diag.message_primary}{detail}"


def write_apart(
    connection: Connection, write: Callable[[list[T]], int], items: list[T]
) -> tuple[int, list[tuple[T, str]]]:
    """``write`` the items, all at once where nothing is refused, else halving them; returns how many rows
    that were, and the items that are refused with the reason.

    Must run in a transaction. Any other error is raised, and then nothing is written.
    """
    if not items:
        return 0, []
    try:
        with connection.transaction():
            return write(items), []
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        if len(items) == 1:
            return 0, [(items[0], reason)]
    half = len(items) // 2
    rows, refused = write_apart(connection, write, items[:half])
    more_rows, more_refused = write_apart(connection, write, items[half:])
    return rows + more_rows, refused + more_refused
