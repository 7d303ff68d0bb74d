"""Assets behind `orders`: snapshots by business day, customers, daily metrics."""

from datetime import date

import dagster as dg

from eventstore.engine.derived import Derived, refresh_derived
from eventstore.engine.snapshots.build import build_snapshots
from eventstore.orders.domain import DOMAIN
from pipelines.assets import LIVE, order_events
from pipelines.freshness import FRESHNESS, NIGHTLY
from pipelines.metadata import table, table_name
from pipelines.partitions import days
from pipelines.projections import OWNERS
from pipelines.resources import EventStore


@dg.asset(
    group_name="snapshots",
    kinds={"python", "postgres"},
    owners=OWNERS,
    deps=[order_events],
    partitions_def=days,
    # One run for any range of days: a day is read from the log once, however many days are asked for.
    backfill_policy=dg.BackfillPolicy.single_run(),
    code_version=DOMAIN.states.fold_version,
    freshness_policy=NIGHTLY,
    pool="snapshots",
)
def order_snapshots(context: dg.AssetExecutionContext, store: EventStore) -> None:
    """The state of each order at the end of each business day (UTC) on which it changed.

    Late events that reach into days that were built are folded into them by every run.
    """
    keys = sorted(context.partition_keys)
    with store.connect() as connection:
        done = build_snapshots(
            connection, DOMAIN.states, date.fromisoformat(keys[0]), date.fromisoformat(keys[-1])
        )
        context.log.info(
            f"{done.rows} snapshots written, {done.refreshed.orders} orders with late events folded again"
        )
        for key in keys:
            context.add_asset_metadata(
                {
                    "dagster/partition_row_count": done.days.get(date.fromisoformat(key), 0),
                    "dagster/table_name": table_name(connection, "order_snapshots"),
                    "refolded": done.refreshed.orders,
                    "watermark": str(done.watermark),
                },
                partition_key=key,
            )


def _derived_asset(derived: Derived) -> dg.AssetsDefinition:
    """A table that one statement computes from the rows of a projection."""

    @dg.asset(
        name=derived.name,
        description=derived.description,
        group_name="metrics",
        kinds={"python", "postgres"},
        owners=OWNERS,
        deps=[LIVE[derived.source.name]],
        freshness_policy=FRESHNESS,
        pool="metrics",
    )
    def asset(context: dg.AssetExecutionContext, store: EventStore) -> dg.MaterializeResult[None]:
        with store.connect() as connection:
            done = refresh_derived(connection, derived)
            context.log.info(f"{done.written} rows written, {done.gone} gone")
            return dg.MaterializeResult(
                metadata={
                    "written": done.written,
                    "gone": done.gone,
                    "watermark": str(done.watermark),
                    **table(connection, derived.name),
                }
            )

    return asset


DERIVED = [_derived_asset(derived) for derived in DOMAIN.derived]
ALL = [order_snapshots, *DERIVED]
