"""Daily snapshots: the state at the end of a business day of each order that changed on it.

All of them hold the events up to one watermark. An event above it that happened on or before the day of a
snapshot of its order makes that snapshot stale, and is missing in its own day. `refresh_stale` moves the
watermark on and folds exactly those orders again; until then reads pass the stale ones over (see `state`).

A day is a range of an index here, not a partition of the table: three years would be a thousand partitions,
which every question about one order had to look into, and a day is built again row by row anyway.
"""

import time
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import msgspec

from eventstore.engine.healing import orders_to_heal
from eventstore.engine.projection import Projection, Target
from eventstore.engine.quarantine import stops
from eventstore.engine.reading import events_of
from eventstore.engine.snapshots.row_per_day import CHECKPOINTS, SNAPSHOTS
from eventstore.engine.snapshots.worklist import Worklist, list_orders
from eventstore.engine.standing import (
    Standing,
    advance,
    lock,
    lock_to_go_on,
    register,
    rules_in_force,
    watermark,
)
from eventstore.kernel.days import CHECKPOINT_EVERY, LAST_VERSION, end_of_day_ms, start_of_day_ms
from eventstore.kernel.folding import Folding
from eventstore.kernel.folding import advance as advance_state
from eventstore.kernel.recorded import BEGINNING_OF_TIME_MS
from eventstore.log.connection import Connection
from eventstore.log.feed import horizon, newest_up_to, publish_horizon

_CHUNK = 100_000


class SnapshotsRefreshed(msgspec.Struct, frozen=True, kw_only=True):
    orders: int  #: orders folded again: late events came, or the stream grew by a checkpoint
    rows: int  #: snapshots written
    watermark: UUID
    seconds: float


class SnapshotsBuilt(msgspec.Struct, frozen=True, kw_only=True):
    days: dict[date, int]  #: the snapshots of each day: as many as orders changed on it
    rows: int  #: snapshots written
    refreshed: SnapshotsRefreshed  #: what was stale before, in these days and others
    watermark: UUID  #: the snapshots hold all events up to this id
    seconds: float


def build_snapshots(
    connection: Connection,
    states: Projection[Any],
    first_day: date,
    last_day: date,
    on_progress: Callable[[int], object] = lambda _: None,
) -> SnapshotsBuilt:
    """Build, or build again, the snapshots of ``states`` on the business days from the first to the last.

    One pass and one transaction: readers see all of the old or all of the new. A day that is not over yet
    becomes stale with its next event.
    """
    if last_day < first_day:
        raise ValueError(f"the last day, {last_day}, lies before the first, {first_day}")
    started = time.monotonic()
    refreshed = refresh_stale(connection, states)
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    with connection.transaction():
        standing, rules = lock_to_go_on(connection, SNAPSHOTS), rules_in_force(connection, states)
        listed = list_orders(
            connection,
            states,
            rules,
            "SELECT DISTINCT order_id, %(first)s::bigint, 0 FROM order_events "
            "WHERE created_at BETWEEN %(first)s AND %(last)s AND id <= %(watermark)s",
            {
                "first": start_of_day_ms(first_day),
                "last": end_of_day_ms(last_day),
                "watermark": standing.watermark,
            },
        )
        connection.execute("DELETE FROM order_snapshots WHERE day BETWEEN %s AND %s", (first_day, last_day))
        rows = listed.refold(
            standing.watermark,
            end_of_day_ms(last_day),
            days=set(days),
            settled=False,
            on_progress=on_progress,
        )
        _register_days(connection, days, rules)
        counts = connection.execute(
            "SELECT day, count(*) FROM order_snapshots WHERE day BETWEEN %s AND %s GROUP BY day",
            (first_day, last_day),
        ).fetchall()
    return SnapshotsBuilt(
        days=dict.fromkeys(days, 0) | dict(counts),
        rows=rows,
        refreshed=refreshed,
        watermark=standing.watermark,
        seconds=time.monotonic() - started,
    )


def refresh_stale(connection: Connection, states: Projection[Any]) -> SnapshotsRefreshed:
    """Take in the events since the watermark: fold again what they made stale, and add checkpoints to streams
    that have grown. Cost follows the number of new events; after a change of the rules all is folded again.
    """
    started = time.monotonic()
    register(connection, SNAPSHOTS, rules_in_force(connection, states).version)
    orders, rows = _heal(connection, states)
    publish_horizon(connection)
    until = horizon(connection)
    while True:
        with connection.transaction():
            standing, rules = lock_to_go_on(connection, SNAPSHOTS), rules_in_force(connection, states)
            end = _end_of_chunk(connection, standing.watermark, until)
            if end is None:
                break
            listed = _list_changed(connection, states, rules, standing.watermark, end)
            orders += listed.orders
            rows += _refold(listed, until=end)
            advance(connection, SNAPSHOTS, end)
    return SnapshotsRefreshed(
        orders=orders, rows=rows, watermark=standing.watermark, seconds=time.monotonic() - started
    )


def rebuild_snapshots(connection: Connection, states: Projection[Any], until: UUID) -> int:
    """Fold all snapshots and checkpoints anew, in a transaction, from the events up to the horizon ``until``;
    returns the snapshots written. Readers see the old ones until it commits.
    """
    register(connection, SNAPSHOTS, rules_in_force(connection, states).version)
    lock(connection, SNAPSHOTS)
    rules = rules_in_force(connection, states)
    connection.execute("DELETE FROM order_snapshots")
    connection.execute("DELETE FROM order_checkpoints")
    connection.execute("DELETE FROM quarantine WHERE projection = %s", (SNAPSHOTS,))
    reached = newest_up_to(connection, until)
    listed = list_orders(
        connection,
        states,
        rules,
        "SELECT DISTINCT order_id, %(beginning)s::bigint, 0 FROM order_events WHERE id <= %(until)s",
        {"beginning": BEGINNING_OF_TIME_MS, "until": reached},
    )
    rows = listed.refold(reached, days=_built_days(connection), every=CHECKPOINT_EVERY)
    _register_days(connection, _built_days(connection), rules)
    advance(connection, SNAPSHOTS, reached, rules.version)
    return rows


def stale_days(connection: Connection, states: Projection[Any]) -> list[date]:
    """The built days with a snapshot that is out of date, by later events or older rules, or missing."""
    rows = connection.execute(
        """
        WITH news AS (
            SELECT order_id, business_day(created_at) AS day FROM order_events
             WHERE id > %(watermark)s)
        SELECT day FROM order_snapshot_days WHERE fold_version <> %(rules)s
        UNION SELECT day FROM news WHERE day IN (SELECT day FROM order_snapshot_days)
        UNION SELECT s.day FROM news n JOIN order_snapshots s ON s.order_id = n.order_id AND s.day >= n.day
        ORDER BY day
        """,
        {"watermark": watermark(connection, SNAPSHOTS), "rules": rules_in_force(connection, states).version},
    )
    return [day for (day,) in rows]


def _heal(connection: Connection, states: Projection[Any]) -> tuple[int, int]:
    """Fold again what new code demands: everything after a change of the rules, else the orders in quarantine
    and those with events whose type has been learned. Returns the orders and the snapshots written.
    """
    with connection.transaction():
        standing, rules = lock_to_go_on(connection, SNAPSHOTS), rules_in_force(connection, states)
        changed = standing.fold_version != rules.version
        again = None if changed else _to_be_folded_again(connection, states, rules, standing)
        if again == []:
            return 0, 0
        listed = list_orders(
            connection,
            states,
            rules,
            "SELECT order_id, %(beginning)s::bigint, 0 FROM order_events "
            "WHERE version = 1 AND id <= %(watermark)s "
            "AND (%(again)s::uuid[] IS NULL OR order_id = ANY(%(again)s))",
            {"beginning": BEGINNING_OF_TIME_MS, "watermark": standing.watermark, "again": again},
        )
        rows = _refold(listed, until=standing.watermark)
        if changed:
            _register_days(connection, _built_days(connection), rules)
            advance(connection, SNAPSHOTS, standing.watermark, rules.version)
    return listed.orders, rows


def _to_be_folded_again(
    connection: Connection, states: Projection[Any], rules: Folding, standing: Standing
) -> list[UUID]:
    """The orders that the rules may fold otherwise now. Those in quarantine that still stop at the same event
    are not among them.
    """
    target = Target(states, SNAPSHOTS, rules, states.layout)
    tried, learned = orders_to_heal(connection, target, tables=(SNAPSHOTS, CHECKPOINTS))
    stopped = stops(connection, SNAPSHOTS, tried)
    events = events_of(connection, states.events, tried, standing.watermark) if tried else ()
    for order_id, _, failure in states.layout.outcomes(target, events, advance_state):
        if failure and stopped[order_id] == (failure.at, failure.version):
            del stopped[order_id]
    return [*stopped, *learned]


def _end_of_chunk(connection: Connection, after: UUID, until: UUID) -> UUID | None:
    """The id of the last event of the next chunk; None where there is no more."""
    row = connection.execute(
        "SELECT id FROM (SELECT id FROM order_events WHERE id > %s AND id <= %s ORDER BY id LIMIT %s) chunk "
        "ORDER BY id DESC LIMIT 1",
        (after, until, _CHUNK),
    ).fetchone()
    return row[0] if row else None


def _list_changed(
    connection: Connection, states: Projection[Any], rules: Folding, after: UUID, until: UUID
) -> Worklist:
    """List the orders whose snapshots the events between two ids make stale, incomplete or too far away."""
    return list_orders(
        connection,
        states,
        rules,
        """
        SELECT news.order_id, CASE WHEN q.order_id IS NULL THEN from_at ELSE %(beginning)s END,
               %(last_version)s::int
          FROM (
            SELECT order_id, min(created_at) AS from_at,
                   bool_or(version %% %(every)s = 0) AS has_grown,
                   bool_or(business_day(created_at) IN (SELECT day FROM order_snapshot_days)) AS in_built_day
              FROM order_events WHERE id > %(after)s AND id <= %(until)s GROUP BY order_id) news
          LEFT JOIN quarantine q ON q.projection = %(name)s AND q.order_id = news.order_id
         WHERE has_grown OR in_built_day OR q.order_id IS NOT NULL
            OR EXISTS (SELECT FROM order_snapshots s
                        WHERE s.order_id = news.order_id AND s.day >= business_day(from_at))
            OR EXISTS (SELECT FROM order_checkpoints c
                        WHERE c.order_id = news.order_id AND c.until_at > from_at)
        """,
        {
            "name": SNAPSHOTS,
            "after": after,
            "until": until,
            "every": CHECKPOINT_EVERY,
            "beginning": BEGINNING_OF_TIME_MS,
            "last_version": LAST_VERSION,
        },
    )


def _refold(listed: Worklist, until: UUID) -> int:
    """Put the listed orders' snapshots and checkpoints in order; returns the snapshots written."""
    listed.delete_superseded()
    return listed.refold(until, days=_built_days(listed.connection), every=CHECKPOINT_EVERY)


def _built_days(connection: Connection) -> set[date]:
    return {day for (day,) in connection.execute("SELECT day FROM order_snapshot_days")}


def _register_days(connection: Connection, days: Iterable[date], rules: Folding) -> None:
    connection.execute(
        "INSERT INTO order_snapshot_days (day, fold_version) SELECT unnest(%s::date[]), %s "
        "ON CONFLICT (day) DO UPDATE SET fold_version = excluded.fold_version, built_at = now()",
        (sorted(days), rules.version),
    )
