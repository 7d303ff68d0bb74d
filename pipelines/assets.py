"""The assets: what the tables are and how they come about. A body calls `eventstore` and reports back."""

from datetime import timedelta
from pathlib import Path

import dagster as dg
from pydantic import Field

from eventstore.ingestion.load import files_waiting, ingest
from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.promote import promote
from eventstore.readmodels.refresh import refresh
from eventstore.readmodels.replay import replay_bucket
from eventstore.server import settings
from pipelines.metadata import count_by, per_second, table, table_name
from pipelines.partitions import buckets
from pipelines.resources import EventStore

OWNERS = ["team:orders"]


class IngestConfig(dg.Config):
    """Which files to ingest."""

    paths: list[str] = Field(
        default_factory=list, description="None given: all files that wait in the landing folder."
    )


@dg.asset(
    group_name="log",
    kinds={"python", "postgres"},
    owners=OWNERS,
    pool="ingest",
)
def order_events(
    context: dg.AssetExecutionContext, config: IngestConfig, store: EventStore
) -> dg.MaterializeResult[None]:
    """The log: every change to an order, as an immutable event. A run appends files of the landing folder.

    Lines that cannot be appended go to the table `rejects` with their reason; events that are in the log
    already are counted as duplicates, so that the same file twice does no harm.
    """
    with store.connect() as connection:
        paths = [Path(path) for path in config.paths] or files_waiting(connection, settings.landing())
        done = ingest(connection, paths)
        context.log.info(
            f"{done.appended} events appended, {done.duplicates} duplicates, {done.rejected} rejected"
        )
        return dg.MaterializeResult(
            metadata={
                "events": done.appended,
                "read": done.read,
                "duplicates": done.duplicates,
                "rejected": done.rejected,
                "rejects_by_reason": count_by("reason", done.rejects_by_reason),
                "files": [file.file for file in done.files],
                "events_per_second": per_second(done.appended, done.seconds),
                **table(connection, "order_events"),
            },
            # Appending changes nothing that was in the log before: what was replayed from it stays valid.
            data_version=dg.DataVersion("append-only"),
        )


@dg.asset(
    group_name="orders",
    kinds={"python", "postgres"},
    owners=OWNERS,
    deps=[order_events],
    partitions_def=buckets,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=4),
    code_version=ORDERS.fold_version,
    pool="replay",
)
def orders_replay(context: dg.AssetExecutionContext, store: EventStore) -> None:
    """`orders` folded again from the first event, bucket by bucket, in a candidate table beside the live one.

    Readers of `orders` notice nothing. To replay everything, materialize all of this group: when the last
    bucket stands, the run of `orders` makes the candidate the live table.
    """
    with store.connect() as connection:
        for key in context.partition_keys:
            bucket = int(key)
            done = replay_bucket(connection, bucket)
            context.log.info(f"bucket {key}: {done.events} events folded into {done.rows} orders")
            context.add_asset_metadata(
                {
                    "events": done.events,
                    "rows": done.rows,
                    "watermark": str(done.watermark),
                    "events_per_second": per_second(done.events, done.seconds),
                    "dagster/partition_row_count": done.rows,
                    "dagster/table_name": table_name(connection, ORDERS.candidate_bucket(bucket)),
                },
                partition_key=key,
            )


@dg.asset(
    group_name="orders",
    kinds={"python", "postgres"},
    owners=OWNERS,
    deps=[order_events, dg.AssetDep(orders_replay, partition_mapping=dg.AllPartitionMapping())],
    code_version=ORDERS.fold_version,
    # Runs are skipped while nothing happens; the hourly one is the proof of life.
    freshness_policy=dg.FreshnessPolicy.time_window(
        warn_window=timedelta(minutes=90), fail_window=timedelta(hours=3)
    ),
    pool="refresh",
)
def orders(context: dg.AssetExecutionContext, store: EventStore) -> dg.MaterializeResult[None]:
    """The current state of each order: the fold of its events in the order of their business time.

    A run promotes a finished replay, if there is one, then folds the events since the watermark.
    """
    with store.connect() as connection:
        promoted = promote(connection)
        if promoted:
            context.log.info(
                f"replay promoted: {promoted.added} orders added, {promoted.changed} changed, "
                f"{promoted.gone} gone"
            )
        done = refresh(connection)
        context.log.info(f"{done.events} events folded into {done.rows} orders")
        return dg.MaterializeResult(
            metadata={
                "events": done.events,
                "rows": done.rows,
                "refolded": done.refolded,
                "watermark": str(done.watermark),
                "lag_events": done.lag.events,
                "lag_seconds": done.lag.seconds,
                "events_per_second": per_second(done.events, done.seconds),
                "promoted": promoted is not None,
                **table(connection, "orders"),
            },
            data_version=dg.DataVersion(f"rules {ORDERS.fold_version} up to {done.watermark}"),
        )


ALL = [order_events, orders_replay, orders]
