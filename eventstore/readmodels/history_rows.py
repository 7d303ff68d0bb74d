"""Between timelines and the rows of ``order_history``, which are inserted and closed, never changed."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.domain.history import Belief, Span, recorded_ms
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import FoldEvent, from_ms, to_ms
from eventstore.log.connection import Connection
from eventstore.readmodels.copying import copy_rows
from eventstore.readmodels.projection import Projection
from eventstore.readmodels.rows import state_of


def history_row(span: Span) -> list[Any]:
    """The row of a span: its state, then the ends of both periods."""
    return [
        *msgspec.structs.astuple(span.state),
        from_ms(span.valid_from),
        _end(span.valid_to),
        from_ms(span.recorded_from),
        _end(span.recorded_to),
    ]


def row_after(state: OrderState, event: FoldEvent) -> list[Any]:
    """The row that begins with ``event``, for as long as nothing else is known."""
    return history_row(Span(state, event.created_at, None, recorded_ms(event), None))


def read_beliefs(
    connection: Connection, projection: Projection[Any], table: str, since: dict[UUID, int]
) -> dict[UUID, list[Belief]]:
    """What stands of the given orders, each from the row that covers its moment of business time on.

    An order that begins later has all its rows. Each costs one index probe and the rows that are returned.
    """
    columns = projection.columns
    query = sql.SQL(
        "SELECT {columns}, h.valid_from, h.recorded_from"
        "  FROM unnest(%s::uuid[], %s::timestamptz[]) AS asked(order_id, since)"
        "  LEFT JOIN LATERAL (SELECT valid_from FROM {table} c"
        "                      WHERE c.order_id = asked.order_id AND c.recorded_to = 'infinity'"
        "                        AND c.valid_from <= asked.since"
        "                      ORDER BY valid_from DESC LIMIT 1) covering ON true"
        # OFFSET 0: a probe of the index for each, also where the table has no statistics, as after a crash.
        " CROSS JOIN LATERAL (SELECT * FROM {table} h"
        "                      WHERE h.order_id = asked.order_id AND h.recorded_to = 'infinity'"
        "                        AND h.valid_from >= coalesce(covering.valid_from, '-infinity') OFFSET 0) h"
        " ORDER BY h.order_id, h.valid_from"
    ).format(
        columns=sql.SQL(", ").join(sql.Identifier("h", column) for column in columns),
        table=sql.Identifier(table),
    )
    beliefs: dict[UUID, list[Belief]] = {}
    for *values, valid_from, recorded_from in connection.execute(
        query, (list(since), [from_ms(ms) for ms in since.values()])
    ):
        state = state_of(projection, values)
        belief = Belief(state, to_ms(valid_from), to_ms(recorded_from))
        beliefs.setdefault(state.order_id, []).append(belief)
    return beliefs


def close_rows(connection: Connection, table: str, spans: list[Span]) -> None:
    """Write the ``recorded_to`` of rows that stood until now."""
    if not spans:
        return
    closed = connection.execute(
        sql.SQL(
            "UPDATE {table} h SET recorded_to = closed.recorded_to"
            "  FROM (SELECT standing.place, standing.bucket, c.recorded_to"
            "          FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[])"
            "               AS c(order_id, valid_from, recorded_to)"
            "         CROSS JOIN LATERAL (SELECT s.ctid AS place, s.tableoid AS bucket FROM {table} s"
            "                              WHERE s.order_id = c.order_id AND s.recorded_to = 'infinity'"
            "                                AND s.valid_from = c.valid_from OFFSET 0) standing) closed"
            " WHERE h.ctid = closed.place AND h.tableoid = closed.bucket"
        ).format(table=sql.Identifier(table)),
        (
            [span.state.order_id for span in spans],
            [from_ms(span.valid_from) for span in spans],
            [_end(span.recorded_to) for span in spans],
        ),
    ).rowcount
    if closed != len(spans):
        raise RuntimeError(f"{table} was changed by somebody else: replay it")


def insert_rows(
    connection: Connection, projection: Projection[Any], table: str, spans: Iterable[Span]
) -> int:
    """Add rows; returns how many."""
    return copy_rows(connection, table, projection.table_columns, spans, history_row)


def _end(ms: int | None) -> datetime | str:
    return "infinity" if ms is None else from_ms(ms)
