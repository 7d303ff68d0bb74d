"""Rows as dicts, in one pass over the log: times in milliseconds, amounts as Decimals."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, groupby
from typing import Any

from tests.chaos.naive import Event
from tests.chaos.stage import Connection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_cursors = count()

Row = dict[str, Any]


def as_time(ms: int) -> datetime:
    return _EPOCH + ms * _MS


def row_of(text: str) -> Row:
    row: Row = json.loads(text, parse_float=Decimal)
    for name, value in row.items():
        if name.endswith("_at") and isinstance(value, str):
            row[name] = (datetime.fromisoformat(value) - _EPOCH) // _MS
    return row


@contextmanager
def rows(
    connection: Connection, query: str, parameters: dict[str, Any] | None = None
) -> Iterator[Iterator[Row]]:
    """With flat memory; the connection is in a transaction."""
    with connection.cursor(name=f"rows_{next(_cursors)}") as cursor:
        cursor.itersize = 2000
        cursor.execute(f"SELECT row_to_json(found)::text FROM ({query}) found", parameters)
        yield (row_of(text) for (text,) in cursor)


def streams(events: Iterator[Row]) -> Iterator[tuple[str, list[Event]]]:
    """The events of each order."""
    for order_id, stream in groupby(events, key=lambda event: str(event["order_id"])):
        yield order_id, list(stream)


class Beside:
    """Rows that rise by order, read in step with the orders of the log."""

    def __init__(self, found: Iterator[Row]) -> None:
        self._found = found
        self._ahead = next(found, None)

    def of(self, order_id: str) -> tuple[list[Row], list[Row]]:
        """The rows of that order, and those passed on the way to it: of orders that the log does not have."""
        mine: list[Row] = []
        strays: list[Row] = []
        while self._ahead is not None and self._ahead["order_id"] <= order_id:
            (mine if self._ahead["order_id"] == order_id else strays).append(self._ahead)
            self._ahead = next(self._found, None)
        return mine, strays

    def rest(self) -> list[Row]:
        return [row for row in (self._ahead, *self._found) if row is not None]


def differences(expected: Row, found: Row) -> str:
    """The columns of ``expected`` that ``found`` has otherwise; others are not this comparison's matter."""
    return ", ".join(
        f"{name} is {found.get(name)} instead of {value}"
        for name, value in expected.items()
        if found.get(name) != value
    )
