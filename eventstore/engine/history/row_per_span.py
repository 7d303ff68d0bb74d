"""A table with a row per span: each state of each order along business time, as known at each recorded time.

Events close the rows that they supersede and add the corrected ones; a row is never changed otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import sql

from eventstore.engine.fold import refold
from eventstore.engine.projection import Advance, Folded, Outcome, Projection, Target
from eventstore.engine.quarantine import quarantined
from eventstore.engine.reading import FOLD_JSON, events_in
from eventstore.engine.row_per_order import state_of
from eventstore.engine.writing import copy_rows, delete_rows, texts_of, write_apart
from eventstore.kernel.codec import Codec
from eventstore.kernel.days import LAST_VERSION
from eventstore.kernel.folding import advance, evolving
from eventstore.kernel.recorded import FoldEvent, from_ms, to_ms
from eventstore.kernel.timeline import Belief, Span, Timeline, recorded_ms
from eventstore.log.connection import Connection

Evolve = Callable[[Any, FoldEvent], Any]


class RowPerSpan:
    """The layout of such a table: the fields of the state, then the ends of both periods."""

    columns: tuple[str, ...] = ("valid_from", "valid_to", "recorded_from", "recorded_to")
    #: A row is the same when it began in both times with the same event.
    key: tuple[str, ...] = ("order_id", "recorded_from", "valid_from")
    replaces_rows = True

    def fold_into(self, connection: Connection, target: Target, events: list[FoldEvent]) -> Folded:
        """As the protocol demands, of whole milliseconds. An event in business order closes one row of its
        order and adds two; a late one closes every row from its business time on. Learned again from the
        start are the orders in quarantine, those that fail now, and those whose rows were folded by others.
        """
        by_order: dict[UUID, list[FoldEvent]] = {}
        for event in events:
            by_order.setdefault(event.order_id, []).append(event)
        since = {order_id: min(event.created_at for event in stream) for order_id, stream in by_order.items()}
        held = _read_beliefs(connection, target.projection, target.table, since)
        again = quarantined(connection, target.table) & by_order.keys()
        news: dict[UUID, list[FoldEvent]] = {}
        for order_id, stream in by_order.items():
            last = held[order_id][-1].state if order_id in held else None
            new_events = [event for event in stream if last is None or event.version > last.version]
            if not new_events or order_id in again:
                continue
            if last is not None and last.fold_version != target.mark:
                again.add(order_id)
            else:
                news[order_id] = new_events

        late = {
            order_id: (since[order_id], held[order_id][-1].state.version)
            for order_id in news
            if order_id in held and held[order_id][-1].valid_from > since[order_id]
        }
        known = _events_known_after(connection, target.projection.events, late)
        evolve: Evolve = evolving(target.folding)
        changes: list[_Change] = []
        for order_id, new_events in news.items():
            timeline = Timeline(
                _initial(target, order_id), evolve, held.get(order_id, []), known.get(order_id, [])
            )
            spans = [*timeline.learn_all(new_events), *timeline.known()]
            if timeline.failure:
                again.add(order_id)
                continue
            first = recorded_ms(new_events[0])
            added = [span for span in spans if span.recorded_from >= first]
            closed = [span for span in spans if span.recorded_from < first and span.recorded_to is not None]
            changes.append(_Change(order_id, closed, added))
        rows, refused = write_apart(connection, partial(_apply, connection, target), changes)
        again |= {change.order_id for change, _ in refused}
        rows += refold(connection, target, list(again), until=events[-1].id) if again else 0
        return Folded(rows=rows, refolded=len(late.keys() | again))

    def outcomes(
        self, target: Target, events: Iterable[FoldEvent], advance: Advance = advance
    ) -> Iterator[Outcome]:
        """The whole history of each order, superseded spans first."""
        evolve: Evolve = evolving(target.folding, advance)
        for _, stream in groupby(events, key=attrgetter("order_id.int")):  # a UUID is slow to compare
            recorded = sorted(stream, key=attrgetter("version"))
            order_id = recorded[0].order_id
            timeline = Timeline(_initial(target, order_id), evolve)
            superseded = timeline.learn_all(recorded)
            yield Outcome(order_id, [*superseded, *timeline.known()], timeline.failure)

    def replace(self, connection: Connection, target: Target, outcomes: list[Outcome]) -> int:
        delete_rows(connection, target.table, [outcome.order_id for outcome in outcomes])
        spans = (span for outcome in outcomes for span in outcome.kept)
        return _insert(connection, target, spans)

    def lines(self, spans: list[Span]) -> bytes:
        """A state is made text once, though most are in two rows; so is a time, which is in up to four."""
        of, *times = zip(*spans, strict=True)
        states = {id(state): state for state in of}
        texts = dict(zip(states, texts_of(map(msgspec.structs.astuple, states.values())), strict=True))
        moments = _texts_of_times(set().union(*times))
        columns = [map(texts.__getitem__, map(id, of)), *(map(moments.__getitem__, each) for each in times)]
        return b"\n".join(map(b",".join, zip(*columns, strict=True))) + b"\n"

    def row_after(self, state: Any, event: FoldEvent) -> Sequence[Any]:
        times = (from_ms(event.created_at), "infinity", from_ms(recorded_ms(event)), "infinity")
        return (*msgspec.structs.astuple(state), *times)


ROW_PER_SPAN = RowPerSpan()


class _Change(NamedTuple):
    """What new events do to the rows of an order."""

    order_id: UUID
    closed: list[Span]
    added: list[Span]


def _apply(connection: Connection, target: Target, changes: list[_Change]) -> int:
    _close(connection, target.table, [span for change in changes for span in change.closed])
    return _insert(connection, target, (span for change in changes for span in change.added))


def _initial(target: Target, order_id: UUID) -> Any:
    initial = target.projection.initial(order_id)
    return initial if target.mark is None else msgspec.structs.replace(initial, fold_version=target.mark)


def _events_known_after(
    connection: Connection, codec: Codec, late: dict[UUID, tuple[int, int]]
) -> dict[UUID, list[FoldEvent]]:
    """By order, its events after a business time up to a version: what a late event has evolved again."""
    known: dict[UUID, list[FoldEvent]] = {}
    if not late:
        return known
    rows = connection.execute(
        f"SELECT {FOLD_JSON}"
        "  FROM unnest(%s::uuid[], %s::bigint[], %s::int[]) AS late(late_order, since, up_to)"
        "  JOIN LATERAL events_after(late_order, since, %s) ON version <= up_to"
        " ORDER BY order_id, created_at, version",
        (
            list(late),
            [since for since, _ in late.values()],
            [version for _, version in late.values()],
            LAST_VERSION,
        ),
    )
    for event in events_in(codec, rows):
        known.setdefault(event.order_id, []).append(event)
    return known


def _read_beliefs(
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


def _close(connection: Connection, table: str, spans: list[Span]) -> None:
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


def _insert(connection: Connection, target: Target, spans: Iterable[Span]) -> int:
    return copy_rows(connection, target.table, target.columns, spans, target.layout.lines)


def _texts_of_times(times: set[int | None]) -> dict[int | None, bytes]:
    """Each as a value of CSV; None is the end of time."""
    known = [ms for ms in times if ms is not None]
    texts = msgspec.json.encode(list(map(from_ms, known)))[1:-1].split(b",")
    return {None: b"infinity", **dict(zip(known, texts, strict=False))}


def _end(ms: int | None) -> datetime | str:
    return "infinity" if ms is None else from_ms(ms)
