"""The jobs: which assets run together, for how long at most, and how often they are tried again."""

from typing import Any

import dagster as dg

from eventstore.engine.derived import EVERY_TEN_MINUTES, Derived
from eventstore.orders.domain import DOMAIN
from eventstore.server import settings
from pipelines import derived
from pipelines.assets import LIVE, order_events, orders
from pipelines.checks import files_left, overlaps
from pipelines.cluster.places import WHERE_FILES_ARE
from pipelines.ops import (
    compare_with_replay,
    end_overdue_holders,
    launch_replay,
    prove_all,
    prove_some,
    rebuild_everything,
    refresh_made_from_orders,
)
from pipelines.projections import promote_job, refresh_job, tags

_HOUR = 3600
_DAY = 24 * _HOUR

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets(order_events),
    description="Append files to the log: those configured, or all that wait in the landing folder.",
    tags={**tags(6 * _HOUR), **WHERE_FILES_ARE},
    executor_def=dg.in_process_executor,
)
# Other machines do not see the landing folder: where they execute the runs, the watch looks at it.
_local = dg.AssetSelection.checks(files_left) if settings.ray_address() else None
refresh_orders = refresh_job(orders, dg.AssetSelection.checks_for_assets(order_events), without=_local)
# The check for overlaps looks at as much of the history as it may in a night.
_nightly = dg.AssetSelection.checks(overlaps)
REFRESHES = {
    name: refresh_orders if live is orders else refresh_job(live, without=_nightly)
    for name, live in LIVE.items()
}
check_history = dg.define_asset_job(
    "check_history",
    selection=_nightly,
    description="Look through the next part of order_history for rows that contradict each other.",
    tags=tags(_HOUR),
    executor_def=dg.in_process_executor,
)
ingest_and_refresh = dg.define_asset_job(
    "ingest_and_refresh",
    selection=dg.AssetSelection.assets(order_events, orders),
    description="Append files to the log and fold them into orders at once.",
    tags={**tags(6 * _HOUR), **WHERE_FILES_ARE},
    executor_def=dg.in_process_executor,
)


def _derived_job(name: str, tables: list[Derived]) -> Any:
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*(derived.DERIVED[table.name] for table in tables)),
        description=f"Bring {', '.join(table.name for table in tables)} up to what they are made from.",
        tags=tags(_HOUR),
        executor_def=dg.in_process_executor,
    )


refresh_metrics = _derived_job(
    "refresh_metrics", [table for table in DOMAIN.derived if table.schedule == EVERY_TEN_MINUTES]
)
#: Derived tables with a schedule of their own have a job of their own.
DERIVED = {
    table.name: _derived_job(f"refresh_{table.name}", [table])
    for table in DOMAIN.derived
    if table.schedule != EVERY_TEN_MINUTES
}
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
    """Compare the next rows of every read model with a fold of their events: night by night, all of them."""
    prove_some()


@dg.job(tags=tags(_DAY), executor_def=dg.in_process_executor)
def integrity_of_everything() -> None:
    """Compare every row of every read model with a fold of the whole log, from the first event on."""
    prove_all()


@dg.job(tags=tags(_DAY), executor_def=dg.in_process_executor)
def integrity_by_replay() -> None:
    """Replay the log beside the live `orders` and show what differs under the same rules."""
    compare_with_replay()


@dg.job(name="rebuild", tags=tags(_DAY), executor_def=dg.in_process_executor)
def rebuild_all() -> None:
    """Make every read model anew from the log, beside the old one and then in its place: after a restore of
    the log, or whenever `eventstore check` says so. A run that ended is gone on with.
    """
    rebuild_everything()


@dg.job(tags=tags(_HOUR), executor_def=dg.in_process_executor)
def replay() -> None:
    """Replay `orders`, and all that folds by its rules, from the first event on, then promote: one click.

    Launches the backfill that "Materialize all" on the page of the group would launch.
    """
    launch_replay()


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
    *DERIVED.values(),
    snapshot_day,
    check_history,
    *PROMOTIONS.values(),
    integrity,
    integrity_of_everything,
    integrity_by_replay,
    replay,
    rebuild_all,
    end_holders,
    follow_rules,
]
