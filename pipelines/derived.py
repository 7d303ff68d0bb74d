"""Assets behind `orders`: snapshots by business day, customers, daily metrics."""

from collections.abc import Callable
from datetime import date

import dagster as dg

from eventstore.log.connection import Connection
from eventstore.readmodels.customers import refresh_customers
from eventstore.readmodels.derived import Derived
from eventstore.readmodels.metrics import refresh_daily_metrics
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.snapshots import build_snapshots
from pipelines.assets import order_events, orders
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
    code_version=ORDERS.fold_version,
    pool="snapshots",
)
def order_snapshots(context: dg.AssetExecutionContext, store: EventStore) -> None:
    """The state of each order at the end of each business day (UTC) on which it changed.

    Late events that reach into days that were built are folded into them by every run.
    """
    keys = sorted(context.partition_keys)
    with store.connect() as connection:
        done = build_snapshots(connection, date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))
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


def _derived_asset(
    name: str, description: str, refresh: Callable[[Connection], Derived]
) -> dg.AssetsDefinition:
    """A table that one statement computes from `orders` and the log."""

    @dg.asset(
        name=name,
        description=description,
        group_name="metrics",
        kinds={"python", "postgres"},
        owners=OWNERS,
        deps=[orders],
        pool="metrics",
    )
    def derived(context: dg.AssetExecutionContext, store: EventStore) -> dg.MaterializeResult[None]:
        with store.connect() as connection:
            done = refresh(connection)
            context.log.info(f"{done.written} rows written, {done.gone} gone")
            return dg.MaterializeResult(
                metadata={
                    "written": done.written,
                    "gone": done.gone,
                    "watermark": str(done.watermark),
                    **table(connection, name),
                }
            )

    return derived


customers = _derived_asset(
    "customers",
    "Each customer's orders, lifetime value, first and last order; `customers_as_of(day)` for other days.",
    refresh_customers,
)
daily_order_metrics = _derived_asset(
    "daily_order_metrics",
    "By business day and currency: orders created, paid, shipped, delivered, cancelled; revenue and refunds. "
    "Late events correct past days.",
    refresh_daily_metrics,
)

ALL = [order_snapshots, customers, daily_order_metrics]
