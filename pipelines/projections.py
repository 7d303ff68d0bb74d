"""What every projection of the log has: a replay in buckets, a live table, a refresh by the clock."""

from typing import Any

import dagster as dg

from eventstore.engine.candidate import candidate
from eventstore.engine.projection import BUCKETS, Projection
from eventstore.engine.promote import promote, ready_to_promote
from eventstore.engine.refresh import refresh
from eventstore.engine.replay import replay_bucket
from eventstore.engine.standing import has_news, standing
from eventstore.log.connection import Connection
from eventstore.orders.domain import DOMAIN
from pipelines.freshness import FRESHNESS, PROOF_OF_LIFE, is_due
from pipelines.metadata import per_second, table, table_name
from pipelines.partitions import buckets
from pipelines.resources import EventStore

OWNERS = ["team:orders"]
_HOUR = 3600


def tags(max_runtime_s: int) -> dict[str, str]:
    """A run whose worker and code server died together stays "started" for ever without a maximum runtime."""
    return {"dagster/max_runtime": str(max_runtime_s), "dagster/max_retries": "3"}


def _pool(projection: Projection[Any]) -> str:
    """One run at a time writes the live table."""
    return "refresh" if projection is DOMAIN.states else f"refresh_{projection.name}"


def replay_asset(projection: Projection[Any], log: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """`<name>_replay`: the candidate of a projection, a partition a bucket, made by backfills only."""

    @dg.asset(
        name=f"{projection.name}_replay",
        description=f"`{projection.name}` folded again from the first event, bucket by bucket, in a "
        "candidate table beside the live one.\n\nReaders notice nothing. To replay everything, materialize "
        f"all of this group: when the last bucket stands, the run of `{projection.name}` makes the candidate "
        "the live table.",
        group_name=projection.name,
        kinds={"python", "postgres"},
        owners=OWNERS,
        deps=[log],
        partitions_def=buckets,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=4),
        code_version=projection.fold_version,
        pool="replay",
    )
    def replay(context: dg.AssetExecutionContext, store: EventStore) -> None:
        with store.connect() as connection:
            for key in context.partition_keys:
                bucket = int(key)
                done = replay_bucket(connection, bucket, projection)
                context.log.info(f"bucket {key}: {done.events} events folded into {done.rows} rows")
                context.add_asset_metadata(
                    {
                        "events": done.events,
                        "rows": done.rows,
                        "quarantined": done.quarantined,
                        "watermark": str(done.watermark),
                        "events_per_second": per_second(done.events, done.seconds),
                        "dagster/partition_row_count": done.rows,
                        "dagster/table_name": table_name(connection, projection.candidate_bucket(bucket)),
                    },
                    partition_key=key,
                )

    return replay


def live_asset(
    projection: Projection[Any], log: dg.AssetsDefinition, replay: dg.AssetsDefinition
) -> dg.AssetsDefinition:
    """`<name>`: the live table. A run promotes a finished replay, if there is one, then folds new events."""

    @dg.asset(
        name=projection.name,
        description=f"{projection.description}\n\nA run promotes a finished replay, if there is one, "
        "then folds the events since the watermark.",
        group_name=projection.name,
        kinds={"python", "postgres"},
        owners=OWNERS,
        deps=[log, dg.AssetDep(replay, partition_mapping=dg.AllPartitionMapping())],
        code_version=projection.fold_version,
        freshness_policy=FRESHNESS,
        pool=_pool(projection),
    )
    def live(context: dg.AssetExecutionContext, store: EventStore) -> dg.MaterializeResult[None]:
        with store.connect() as connection:
            promoted = promote(connection, projection)
            if promoted:
                context.log.info(
                    f"replay promoted: {promoted.added} rows added, {promoted.changed} changed, "
                    f"{promoted.gone} gone"
                )
            done = refresh(connection, projection)
            context.log.info(f"{done.events} events folded into {done.rows} rows")
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
                    **table(connection, projection.name),
                },
                # New events come all the time, and by its schedule every table behind this one takes them in:
                # that is no news of which a page should warn. Other rules are.
                data_version=dg.DataVersion(f"rules {_rules(connection, projection)}"),
            )

    return live


def _rules(connection: Connection, projection: Projection[Any]) -> str:
    """Those that the rows of the live table say they were folded by."""
    found = standing(connection, projection.name)
    return found.fold_version if found else projection.fold_version


def refresh_job(
    live: dg.AssetsDefinition, also: dg.AssetSelection | None = None, without: dg.AssetSelection | None = None
) -> Any:
    """`refresh_<name>`: promote, fold, and run the checks of the asset: ``also`` these, ``without`` those."""
    selection: dg.AssetSelection = dg.AssetSelection.assets(live)
    selection = selection | also if also else selection
    selection = selection - without if without else selection
    return dg.define_asset_job(
        f"refresh_{live.key.path[-1]}",
        selection=selection,
        description=f"Promote a finished replay, fold the new events into {live.key.path[-1]}, and run every "
        "check.",
        tags=tags(_HOUR),
        executor_def=dg.in_process_executor,
    )


def promote_job(projection: Projection[Any]) -> Any:
    """`promote_<name>`: a person makes a complete replay the live table, after reading its preview."""

    # The name of the step as runs of earlier releases know it.
    step = "promote_candidate" if projection is DOMAIN.states else f"promote_{projection.name}_candidate"

    @dg.op(name=step, pool=_pool(projection))
    def promote_candidate(context: dg.OpExecutionContext, store: EventStore) -> None:
        with store.connect() as connection:
            promoted = promote(connection, projection, by_hand=True)
            if promoted is None:
                found = candidate(connection, projection)
                raise dg.Failure(
                    f"Nothing to promote: {found.buckets} of {BUCKETS} buckets stand by rules "
                    f"{projection.fold_version}, {found.others} by others. Materialize all of "
                    f"{projection.name}_replay.",
                    allow_retries=False,
                )
        context.log.info(
            f"promoted rules {promoted.fold_version}: {promoted.added} rows added, {promoted.changed} "
            f"changed, {promoted.gone} gone"
        )
        context.log_event(
            dg.AssetMaterialization(
                projection.name,
                description="A person promoted a replay.",
                metadata={
                    "added": promoted.added,
                    "changed": promoted.changed,
                    "gone": promoted.gone,
                    "fold_version": promoted.fold_version,
                    "watermark": str(promoted.watermark),
                },
            )
        )

    @dg.job(
        name=f"promote_{projection.name}",
        description=f"Make a complete replay the live `{projection.name}`, after reading the check `preview` "
        f"of `{projection.name}_replay`.",
        tags=tags(_HOUR),
        executor_def=dg.in_process_executor,
    )
    def job() -> None:
        promote_candidate()

    return job


def schedule(projection: Projection[Any], job: Any, often: str, cron: str) -> dg.ScheduleDefinition:
    """The refresh by ``cron`` where there is something to do, or where the last run is too long ago."""
    name = projection.name

    @dg.schedule(
        name=f"{name}_{often}",
        job=job,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Refreshes `{name}` where there is something to do: new events, or a replay to promote; "
        f"and {PROOF_OF_LIFE.seconds // 60} minutes after the last run in any case, as proof of life.",
    )
    def when_there_is_news(
        context: dg.ScheduleEvaluationContext, store: EventStore
    ) -> dg.RunRequest | dg.SkipReason:
        with store.connect() as connection:
            if has_news(connection, projection.name) or ready_to_promote(connection, projection):
                return dg.RunRequest()
        if is_due(context.instance, job.name):
            return dg.RunRequest()
        return dg.SkipReason(f"No event above the watermark of {name}, and no finished replay to promote.")

    return when_there_is_news
