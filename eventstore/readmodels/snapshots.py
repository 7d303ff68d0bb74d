"""Daily snapshots: the state at the end of a business day of each order that changed on it.

All of them hold the events up to one watermark. An event above it that happened on or before the day of a
snapshot of its order makes that snapshot stale, and is missing in its own day. `refresh_stale` moves the
watermark on and folds exactly those orders again; until then reads pass the stale ones over (see `state`).

A day is a range of an index here, not a partition of the table: three years would be a thousand partitions,
which every question about one order had to look into, and a day is built again row by row anyway.
"""

import time
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from eventstore.domain.days import (
    CHECKPOINT_EVERY,
    LAST_VERSION,
    end_of_day_ms,
    start_of_day_ms,
)
from eventstore.domain.folding import Folding
from eventstore.domain.recorded import BEGINNING_OF_TIME_MS
from eventstore.log.connection import Connection
from eventstore.log.feed import BEGINNING, horizon, publish_horizon
from eventstore.readmodels.events import events_of
from eventstore.readmodels.fold import Target, fold_orders
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.quarantine import stops, to_be_tried
from eventstore.readmodels.refolding import SNAPSHOTS, delete_superseded, list_orders, refold
from eventstore.readmodels.rules import rules_in_force

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


def build_snapshots(connection: Connection, first_day: date, last_day: date) -> SnapshotsBuilt:
    """Build, or build again, the snapshots of the business days from ``first_day`` to ``last_day``.

    One pass and one transaction: readers see all of the old or all of the new. A day that is not over yet
    becomes stale with its next event.
    """
    if last_day < first_day:
        raise ValueError(f"the last day, {last_day}, lies before the first, {first_day}")
    started = time.monotonic()
    refreshed = refresh_stale(connection)
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    with connection.transaction():
        standing, rules = _lock(connection), rules_in_force(connection)
        list_orders(
            connection,
            "SELECT DISTINCT order_id, %(first)s::bigint, 0 FROM order_events "
            "WHERE created_at BETWEEN %(first)s AND %(last)s AND id <= %(watermark)s",
            {
                "first": start_of_day_ms(first_day),
                "last": end_of_day_ms(last_day),
                "watermark": standing.watermark,
            },
            rules,
        )
        connection.execute("DELETE FROM order_snapshots WHERE day BETWEEN %s AND %s", (first_day, last_day))
        rows, _ = refold(
            connection,
            rules,
            until=standing.watermark,
            until_ms=end_of_day_ms(last_day),
            days=set(days),
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


def refresh_stale(connection: Connection) -> SnapshotsRefreshed:
    """Take in the events since the watermark: fold again what they made stale, and add checkpoints to streams
    that have grown. Cost follows the number of new events; after a change of the rules all is folded again.
    """
    started = time.monotonic()
    connection.execute(
        "INSERT INTO projections (name, fold_version) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (SNAPSHOTS, rules_in_force(connection).version),
    )
    orders, rows = _heal(connection)
    publish_horizon(connection)
    until = horizon(connection)
    while True:
        with connection.transaction():
            standing, rules = _lock(connection), rules_in_force(connection)
            end = _end_of_chunk(connection, standing.watermark, until)
            if end is None:
                break
            orders += _list_changed(connection, standing.watermark, end, rules)
            rows += _refold_listed(connection, rules, until=end)
            connection.execute(
                "UPDATE projections SET watermark = %s, updated_at = now() WHERE name = %s", (end, SNAPSHOTS)
            )
    return SnapshotsRefreshed(
        orders=orders, rows=rows, watermark=standing.watermark, seconds=time.monotonic() - started
    )


def stale_days(connection: Connection) -> list[date]:
    """The built days with a snapshot that is out of date, by later events or older rules, or missing."""
    rows = connection.execute(
        """
        WITH news AS (
            SELECT order_id, business_day(created_at) AS day FROM order_events
             WHERE id > coalesce((SELECT watermark FROM projections WHERE name = %(name)s), %(beginning)s))
        SELECT day FROM order_snapshot_days WHERE fold_version <> %(rules)s
        UNION SELECT day FROM news WHERE day IN (SELECT day FROM order_snapshot_days)
        UNION SELECT s.day FROM news n JOIN order_snapshots s ON s.order_id = n.order_id AND s.day >= n.day
        ORDER BY day
        """,
        {"name": SNAPSHOTS, "beginning": BEGINNING, "rules": rules_in_force(connection).version},
    )
    return [day for (day,) in rows]


class _Standing(NamedTuple):
    watermark: UUID
    fold_version: str  #: the rules that all snapshots were last folded by


def _lock(connection: Connection) -> _Standing:
    """The standing of all snapshots, locked until the transaction ends: one writer at a time."""
    row = connection.execute(
        "SELECT watermark, fold_version FROM projections WHERE name = %s FOR UPDATE", (SNAPSHOTS,)
    ).fetchone()
    assert row is not None
    return _Standing(*row)


def _heal(connection: Connection) -> tuple[int, int]:
    """Fold again what new code demands: everything after a change of the rules, else the orders in quarantine
    and those with events whose type has been learned. Returns the orders and the snapshots written.
    """
    with connection.transaction():
        standing, rules = _lock(connection), rules_in_force(connection)
        changed = standing.fold_version != rules.version
        again = None
        if not changed:
            again = _changed(connection, standing, rules) | _with_learned_events(connection, rules)
        if again == set():
            return 0, 0
        orders = list_orders(
            connection,
            "SELECT order_id, %(beginning)s::bigint, 0 FROM order_events "
            "WHERE version = 1 AND id <= %(watermark)s "
            "AND (%(again)s::uuid[] IS NULL OR order_id = ANY(%(again)s))",
            {
                "beginning": BEGINNING_OF_TIME_MS,
                "watermark": standing.watermark,
                "again": None if again is None else list(again),
            },
            rules,
        )
        rows = _refold_listed(connection, rules, until=standing.watermark)
        if changed:
            _register_days(connection, _built_days(connection), rules)
            connection.execute(
                "UPDATE projections SET fold_version = %s WHERE name = %s", (rules.version, SNAPSHOTS)
            )
    return orders, rows


def _changed(connection: Connection, standing: _Standing, rules: Folding) -> set[UUID]:
    """The orders in quarantine that do not stop any more at the event that they stopped at."""
    tried = to_be_tried(connection, SNAPSHOTS)
    stopped = stops(connection, SNAPSHOTS, tried)
    events = events_of(connection, tried, standing.watermark) if tried else ()
    for order_id, _, failure in fold_orders(Target(ORDERS, ORDERS.name, rules), events):
        if failure and stopped[order_id] == (failure.at, failure.version):
            del stopped[order_id]
    return set(stopped)


def _with_learned_events(connection: Connection, rules: Folding) -> set[UUID]:
    """The orders with kept states that list events as unknown which the rules know by now."""
    rows = connection.execute(
        "SELECT order_id, unknown_events FROM order_snapshots WHERE unknown_events <> '{}' "
        "UNION SELECT order_id, unknown_events FROM order_checkpoints WHERE unknown_events <> '{}'"
    )
    return {order_id for order_id, names in rows if any(map(rules.knows, names))}


def _end_of_chunk(connection: Connection, after: UUID, until: UUID) -> UUID | None:
    """The id of the last event of the next chunk; None where there is no more."""
    row = connection.execute(
        "SELECT id FROM (SELECT id FROM order_events WHERE id > %s AND id <= %s ORDER BY id LIMIT %s) chunk "
        "ORDER BY id DESC LIMIT 1",
        (after, until, _CHUNK),
    ).fetchone()
    return row[0] if row else None


def _list_changed(connection: Connection, after: UUID, until: UUID, rules: Folding) -> int:
    """List the orders whose snapshots the events between two ids make stale, incomplete or too far away."""
    return list_orders(
        connection,
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
        rules,
    )


def _refold_listed(connection: Connection, rules: Folding, until: UUID) -> int:
    """Put the listed orders' snapshots and checkpoints in order; returns the snapshots written."""
    delete_superseded(connection)
    rows, failures = refold(
        connection, rules, until=until, days=_built_days(connection), every=CHECKPOINT_EVERY
    )
    connection.execute(
        "DELETE FROM quarantine WHERE projection = %s "
        "AND order_id IN (SELECT refold_id FROM orders_to_refold) AND NOT order_id = ANY(%s)",
        (SNAPSHOTS, [failure.order_id for failure in failures]),
    )
    return rows


def _built_days(connection: Connection) -> set[date]:
    return {day for (day,) in connection.execute("SELECT day FROM order_snapshot_days")}


def _register_days(connection: Connection, days: Iterable[date], rules: Folding) -> None:
    connection.execute(
        "INSERT INTO order_snapshot_days (day, fold_version) SELECT unnest(%s::date[]), %s "
        "ON CONFLICT (day) DO UPDATE SET fold_version = excluded.fold_version, built_at = now()",
        (sorted(days), rules.version),
    )
