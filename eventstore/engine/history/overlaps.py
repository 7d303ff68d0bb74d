"""Look for rows of `order_history` that say two things of the same moment. There must be none."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import groupby, pairwise
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from eventstore.log.connection import Connection

_ALL = sql.SQL("true")
_NO_END = datetime.max.replace(tzinfo=UTC)


class Overlap(NamedTuple):
    """Two rows of an order that were both held to be true of the same business time, at the same time."""

    order_id: UUID
    valid_from: datetime  #: where in business time they begin to overlap
    recorded_from: datetime  #: when that was first recorded


class _Row(NamedTuple):
    valid_from: datetime
    valid_to: datetime
    recorded_from: datetime
    recorded_to: datetime


def overlaps(connection: Connection, where: sql.Composable = _ALL) -> list[Overlap]:
    """Every order of those rows that overlap, with the first overlap of each."""
    query = sql.SQL(
        "COPY (SELECT order_id, valid_from, nullif(valid_to, 'infinity'), recorded_from,"
        " nullif(recorded_to, 'infinity') FROM order_history WHERE {}"
        " ORDER BY order_id, recorded_from) TO STDOUT"
    ).format(where)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(["uuid", *["timestamptz"] * 4])
        return [
            found
            for order_id, rows in groupby(copy.rows(), key=itemgetter(0))
            if (found := _first_overlap(order_id, (_row(row) for row in rows)))
        ]


def _first_overlap(order_id: UUID, rows: Iterator[_Row]) -> Overlap | None:
    """Sweep along recorded time, keeping what stands in the order of business time."""
    standing: list[_Row] = []
    ends: list[tuple[datetime, _Row]] = []
    for row in rows:
        while ends and ends[0][0] <= row.recorded_from:
            del standing[bisect_left(standing, heappop(ends)[1])]
        place = bisect_right(standing, row)
        for one, two in pairwise([*standing[max(place - 1, 0) : place], row, *standing[place : place + 1]]):
            if two.valid_from < one.valid_to:
                return Overlap(order_id, two.valid_from, row.recorded_from)
        insort(standing, row)
        heappush(ends, (row.recorded_to, row))
    return None


def _row(values: tuple[object, ...]) -> _Row:
    return _Row(*(value or _NO_END for value in values[1:]))  # type: ignore[arg-type]
