"""The jobs: which assets run together, for how long at most, and how often they are tried again."""

from typing import Any

import dagster as dg

from pipelines.assets import order_events, orders
from pipelines.ops import compare_with_replay, promote_candidate

_HOUR = 3600


def _tags(max_runtime_s: int) -> dict[str, str]:
    """A run whose worker and code server died together stays "started" for ever without a maximum runtime."""
    return {"dagster/max_runtime": str(max_runtime_s), "dagster/max_retries": "3"}


ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.assets(order_events),
    description="Append files to the log: those configured, or all that wait in the landing folder.",
    tags=_tags(6 * _HOUR),
    executor_def=dg.in_process_executor,
)
refresh_orders = dg.define_asset_job(
    "refresh_orders",
    selection=dg.AssetSelection.assets(orders) | dg.AssetSelection.checks_for_assets(order_events),
    description="Promote a finished replay, fold the new events into orders, and run every check.",
    tags=_tags(_HOUR),
    executor_def=dg.in_process_executor,
)
ingest_and_refresh = dg.define_asset_job(
    "ingest_and_refresh",
    selection=dg.AssetSelection.assets(order_events, orders),
    description="Append files to the log and fold them into orders at once.",
    tags=_tags(6 * _HOUR),
    executor_def=dg.in_process_executor,
)


@dg.job(tags=_tags(_HOUR), executor_def=dg.in_process_executor)
def promote_orders() -> None:
    """Make a complete replay the live `orders`, after reading the check `preview` of `orders_replay`."""
    promote_candidate()


@dg.job(tags=_tags(6 * _HOUR), executor_def=dg.in_process_executor)
def integrity() -> None:
    """Replay the log beside the live `orders` and fail where they differ under the same rules."""
    compare_with_replay()


ALL: list[Any] = [ingest, refresh_orders, ingest_and_refresh, promote_orders, integrity]
