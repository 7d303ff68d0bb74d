"""The jobs: which assets run together, for how long at most, and how often they are tried again."""

from typing import Any

import dagster as dg

from eventstore.orders.domain import DOMAIN
from pipelines import derived
from pipelines.assets import LIVE, order_events, orders
from pipelines.checks import overlaps
from pipelines.ops import compare_with_replay, end_overdue_holders, refresh_made_from_orders
from pipelines.projections import promote_job, refresh_job, tags

_HOUR = 3600

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets(order_events),
    description="Append files to the log: those configured, or all that wait in the landing folder.",
    tags=tags(6 * _HOUR),
    executor_def=dg.in_process_executor,
)
refresh_orders = refresh_job(orders, dg.AssetSelection.checks_for_assets(order_events))
# The check for overlaps reads the whole history: once a night is enough.
_nightly = dg.AssetSelection.checks(overlaps)
REFRESHES = {
    name: refresh_orders if live is orders else refresh_job(live, without=_nightly)
    for name, live in LIVE.items()
}
check_history = dg.define_asset_job(
    "check_history",
    selection=_nightly,
    description="Look through the whole of order_history for rows that contradict each other.",
    tags=tags(_HOUR),
    executor_def=dg.in_process_executor,
)
ingest_and_refresh = dg.define_asset_job(
    "ingest_and_refresh",
    selection=dg.AssetSelection.assets(order_events, orders),
    description="Append files to the log and fold them into orders at once.",
    tags=tags(6 * _HOUR),
    executor_def=dg.in_process_executor,
)


refresh_metrics = dg.define_asset_job(
    "refresh_metrics",
    selection=dg.AssetSelection.assets(*derived.DERIVED),
    description=f"Bring {' and '.join(asset.key.path[-1] for asset in derived.DERIVED)} up to orders.",
    tags=tags(_HOUR),
    executor_def=dg.in_process_executor,
)
snapshot_day = dg.define_asset_job(
    "snapshot_day",
    selection=dg.AssetSelection.assets(derived.order_snapshots),
    description="Build the snapshots of business days.",
    tags=tags(6 * _HOUR),
    executor_def=dg.in_process_executor,
)


PROMOTIONS = {
    projection.name: promote_job(
        projection,
        also=dg.AssetSelection.assets(*derived.DERIVED) if projection is DOMAIN.states else None,
        without=_nightly,
    )
    for projection in DOMAIN.projections
}
promote_orders = PROMOTIONS[DOMAIN.states.name]


@dg.job(tags=tags(6 * _HOUR), executor_def=dg.in_process_executor)
def integrity() -> None:
    """Replay the log beside the live `orders` and fail where they differ under the same rules."""
    compare_with_replay()


@dg.job(tags=tags(_HOUR), executor_def=dg.in_process_executor)
def end_holders() -> None:
    """End the sessions that have kept readers or writers of the log waiting for too long."""
    end_overdue_holders()


@dg.job(tags=tags(6 * _HOUR), executor_def=dg.in_process_executor)
def follow_rules() -> None:
    """After a promotion: bring the snapshots and the derived tables of `orders` up to its rules."""
    refresh_made_from_orders()


ALL: list[Any] = [
    ingest,
    *REFRESHES.values(),
    ingest_and_refresh,
    refresh_metrics,
    snapshot_day,
    check_history,
    *PROMOTIONS.values(),
    integrity,
    end_holders,
    follow_rules,
]
