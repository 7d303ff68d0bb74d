"""Asset checks: what a person should know about the data although the run succeeded."""

import time

import dagster as dg

from eventstore.ingestion.load import files_waiting
from eventstore.readmodels.candidate import candidate
from eventstore.readmodels.history_overlaps import overlaps as find_overlaps
from eventstore.readmodels.lag import lag_of
from eventstore.readmodels.preview import preview as preview_promotion
from eventstore.readmodels.preview_report import as_markdown
from eventstore.readmodels.projection import BUCKETS, ORDERS
from eventstore.readmodels.watermark import watermark
from eventstore.server import settings
from pipelines.assets import LIVE, order_events, orders, orders_replay
from pipelines.metadata import count_by
from pipelines.resources import EventStore

order_history = LIVE["order_history"]
_MAX_LAG_S = 120
_MAX_WAIT_S = 600
_MAX_ODD_SHARE = 0.1


@dg.asset_check(asset=order_events)
def rejects(store: EventStore) -> dg.AssetCheckResult:
    """Warns while lines that could not be appended wait for a fix and a retry."""
    with store.connect() as connection:
        by_reason = dict(
            connection.execute(
                "SELECT reason, count(*) FROM rejects WHERE resolved_at IS NULL GROUP BY reason"
            ).fetchall()
        )
    return dg.AssetCheckResult(
        passed=not by_reason,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{sum(by_reason.values())} lines wait: `eventstore rejects` shows them, "
            "`eventstore rejects retry` tries them again."
            if by_reason
            else "Every line read so far is in the log."
        ),
        metadata={"rejects_by_reason": count_by("reason", by_reason)},
    )


@dg.asset_check(asset=order_events)
def files_left(store: EventStore) -> dg.AssetCheckResult:
    """Warns of files that stay in the landing folder: the sensor asks once, so a run that was cancelled or
    failed for good leaves its file behind. The job `ingest`, launched without configuration, takes them all.
    """
    with store.connect() as connection:
        waiting = files_waiting(connection, settings.landing())
    arrived_before = time.time() - _MAX_WAIT_S
    left = [path.name for path in waiting if path.stat().st_ctime < arrived_before]
    return dg.AssetCheckResult(
        passed=not left,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(left)} files have been waiting for more than {_MAX_WAIT_S // 60} minutes.",
        metadata={"files": left},
    )


@dg.asset_check(asset=orders)
def lag(store: EventStore) -> dg.AssetCheckResult:
    """Warns when events have been waiting for minutes: usually an append that somebody left open."""
    with store.connect() as connection:
        found = lag_of(connection, watermark(connection, ORDERS))
        holders = connection.execute(
            "SELECT pid, role, application_name, open_since FROM horizon_holders() ORDER BY open_since"
        ).fetchall()
    return dg.AssetCheckResult(
        passed=found.seconds <= _MAX_LAG_S,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{found.events} events wait, the oldest for {found.seconds:.0f} s.",
        metadata={
            "lag_events": found.events,
            "lag_seconds": found.seconds,
            "open_appends": [
                f"pid {pid} ({role}, {name}) since {since:%Y-%m-%d %H:%M:%S} UTC"
                for pid, role, name, since in holders
            ],
        },
    )


@dg.asset_check(asset=orders)
def fold_version(store: EventStore) -> dg.AssetCheckResult:
    """Fails while the live table was folded by other rules than this code's."""
    with store.connect() as connection:
        row = connection.execute(
            "SELECT fold_version FROM projections WHERE name = %s", (ORDERS.name,)
        ).fetchone()
    live = row[0] if row else None
    same = live in (None, ORDERS.fold_version)
    return dg.AssetCheckResult(
        passed=same,
        description=(
            f"Folded by rules {ORDERS.fold_version}."
            if same
            else f"Folded by rules {live}, the code has rules {ORDERS.fold_version}: replay all "
            "of the group orders (Materialize all)."
        ),
        metadata={"live": str(live), "code": ORDERS.fold_version},
    )


@dg.asset_check(asset=orders)
def anomalies(store: EventStore) -> dg.AssetCheckResult:
    """Counts the orders whose events contradict each other; warns when they are more than one in ten."""
    with store.connect() as connection:
        counts = dict(
            connection.execute(
                "SELECT anomaly, count(*) FROM orders, unnest(anomalies) AS anomaly GROUP BY anomaly"
            ).fetchall()
        )
        odd, total = connection.execute(
            "SELECT count(*) FILTER (WHERE anomalies <> '{}'), count(*) FROM orders"
        ).fetchone() or (0, 0)
    return dg.AssetCheckResult(
        passed=odd <= total * _MAX_ODD_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{odd} of {total} orders are odd.",
        metadata={"odd_orders": odd, "anomalies": count_by("anomaly", counts)},
    )


@dg.asset_check(asset=orders)
def quarantined(store: EventStore) -> dg.AssetCheckResult:
    """Fails while the rules fail on an event of an order: its row stays as it was, the others go on."""
    with store.connect() as connection:
        poisoned = connection.execute(
            "SELECT order_id, error FROM quarantine WHERE projection = %s ORDER BY since LIMIT 100",
            (ORDERS.name,),
        ).fetchall()
    return dg.AssetCheckResult(
        passed=not poisoned,
        description=(
            f"{len(poisoned)} orders are set aside: mend the rule; the next refresh folds them again."
            if poisoned
            else "The rules fail on no event."
        ),
        metadata={"orders": {str(order_id): error for order_id, error in poisoned}},
    )


@dg.asset_check(asset=orders)
def unknown_events(store: EventStore) -> dg.AssetCheckResult:
    """Warns of events whose type or payload version this release does not know: they changed nothing."""
    with store.connect() as connection:
        counts = dict(
            connection.execute(
                "SELECT name, count(*) FROM orders, unnest(unknown_events) AS name "
                "WHERE unknown_events <> '{}' GROUP BY name"
            ).fetchall()
        )
    return dg.AssetCheckResult(
        passed=not counts,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            "Install a release that knows them; the next refresh folds exactly these orders again."
            if counts
            else "Every event is of a known type."
        ),
        metadata={"events": count_by("event", counts)},
    )


@dg.asset_check(asset=orders_replay)
def preview(store: EventStore) -> dg.AssetCheckResult:
    """What the promotion of the replay would change. Under unchanged rules it must be nothing."""
    with store.connect() as connection:
        found = preview_promotion(connection)
        if found is None:
            stands = candidate(connection, ORDERS)
            return dg.AssetCheckResult(
                passed=True, description=f"{stands.buckets} of {BUCKETS} buckets stand; compared when all do."
            )
    new_rules = found.live_version != found.candidate_version
    return dg.AssetCheckResult(
        passed=new_rules or not found.differences,
        description=(
            f"{found.added} orders would be added, {found.changed} changed, {found.gone} gone "
            f"(rules {found.live_version} -> {found.candidate_version})."
        ),
        metadata={
            "preview": dg.MetadataValue.md(as_markdown(found)),
            "differences": found.differences,
            "watermark": str(found.watermark),
        },
    )


@dg.asset_check(asset=order_history)
def overlaps(store: EventStore) -> dg.AssetCheckResult:
    """Fails where the history says two things of one order at one moment, as known at one time."""
    with store.connect() as connection:
        found = find_overlaps(connection)
    return dg.AssetCheckResult(
        passed=not found,
        description=(
            f"{len(found)} orders have overlapping rows: replay order_history."
            if found
            else "The history says one thing of each moment."
        ),
        metadata={"orders": [str(overlap.order_id) for overlap in found[:100]]},
    )


ALL = [rejects, files_left, lag, fold_version, anomalies, quarantined, unknown_events, preview, overlaps]
