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
_encode_lines = msgspec.json.Encoder().encode_lines

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
    as_lines: Callable[[list[Any]], bytes] | None = None,
) -> int:
    """Append ``rows`` to ``table`` and return how many they were.

    ``as_lines`` makes the lines of some of them, by default `lines_of`. Raises RefusedError for one that has
    no text.
    """
    as_lines = as_lines or lines_of
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL 'null', QUOTE '\"', ESCAPE '\\')").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    copied = 0
    rows = iter(rows)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        while batch := list(islice(rows, _BATCH)):
            try:
                lines = as_lines(batch)
            except MemoryError:
                raise
            except Exception as error:
                raise RefusedError(f"{type(error).__name__}: {error}") from error
            copy.write(lines)
            copied += len(batch)
    return copied


def lines_of(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as lines of CSV. Tuples and lists of text are SQL arrays."""
    return b"".join([text + b"\n" for text in texts_of(rows)])


def texts_of(rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """The values of each row as those of CSV, to which further ones may be joined by a comma."""
    values = list(map(list, rows))
    if not values:
        return []
    arrays = [place for place, value in enumerate(values[0]) if type(value) in _ARRAYS]
    for row in values:
        for place in arrays:
            if type(row[place]) in _ARRAYS:
                row[place] = _array(row[place])
    lines = _encode_lines(values)
    texts = lines[1:-2].split(b"]\n[")  # JSON escapes the line ends within values
    if b"\\" not in lines and lines.count(b"[") == len(values):
        return texts
    return [
        _text(row) if b"\\" in text or b"[" in text else text for text, row in zip(texts, values, strict=True)
    ]


def _text(row: list[Any]) -> bytes:
    """Of a row with what JSON escapes otherwise than CSV, or with an array where the first row had none."""
    values = (_array(value) if type(value) in _ARRAYS else value for value in row)
    return ",".join(map(_csv, values)).encode()


def _array(value: Sequence[str]) -> str:
    return "{" + ",".join(map(_item, value)) + "}" if value else "{}"


def _item(text: str) -> str:
    """Without quotes where it needs none: within JSON each would be escaped."""
    return text if text.isidentifier() and text.lower() != "null" else f'"{_escaped(text)}"'


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
