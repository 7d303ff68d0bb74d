"""Launches a backfill from within a run, as a person does on the page of a group of assets."""

import time
from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill
from dagster._core.utils import make_new_backfill_id

_OPEN = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


def launch_backfill(instance: dg.DagsterInstance, assets: Sequence[dg.AssetsDefinition], title: str) -> str:
    """Ask for every partition of these assets; returns the id of the backfill.

    Raises Failure where one with this title is still under way.
    """
    for other in instance.get_backfills(filters=BulkActionsFilter(statuses=_OPEN)):
        if other.title == title:
            raise dg.Failure(
                f"{title} is under way already, see /runs/b/{other.backfill_id}: wait for its end, or "
                "cancel it.",
                allow_retries=False,
            )
    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id=make_new_backfill_id(),
        asset_graph=AssetGraph.from_assets(assets),
        partition_names=None,
        asset_selection=[each.key for each in assets],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=True,
        title=title,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id
