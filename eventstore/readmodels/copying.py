"""COPY rows into a table, fast: a JSON array without its brackets is a line of CSV."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec
from psycopg import sql

from eventstore.log.connection import Connection
from eventstore.readmodels.refusals import RefusedError

_BATCH = 500
_ARRAYS = {tuple, list}
_encode = msgspec.json.Encoder().encode


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
