"""What every projection of the log has: a replay in buckets, a live table, a refresh by the clock."""

from functools import partial
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from pydantic import Field

from eventstore.engine.change import change_of, promote_change, ready_to_promote, same_rules
from eventstore.engine.projection import Projection
from eventstore.engine.promote import Promoted
from eventstore.engine.refresh import refresh
from eventstore.engine.replay import replay_bucket
from eventstore.engine.standing import events_left, has_news, standing
from eventstore.kernel.counted import counted
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows
from eventstore.orders.domain import DOMAIN
from eventstore.server import settings
from pipelines.catalogue import about, owners
from pipelines.freshness import FRESHNESS, PROOF_OF_LIFE, is_due
from pipelines.metadata import numbers, table, table_name
from pipelines.partitions import BUCKETS, buckets, refuse_other_buckets
from pipelines.resources import EventStore
from pipelines.telling import told

_HOUR = 3600


def tags(max_runtime_s: int) -> dict[str, str]:
    """A run whose worker and code server died together stays "started" for ever without a maximum runtime."""
    return {"dagster/max_runtime": str(max_runtime_s), "dagster/max_retries": "3"}


def group(projection: Projection[Any]) -> str:
    """Projections that fold by the same rules are in one group: "Materialize all" is a change of rules."""
    return same_rules(DOMAIN, projection)[0].name


def _pool(projection: Projection[Any]) -> str:
    """One run at a time writes the live table."""
    return "refresh" if projection is DOMAIN.states else f"refresh_{projection.name}"


def _page(projection: Projection[Any]) -> str:
    """Which page of the docs tells of the table."""
    return "docs/howto/past.md" if projection is DOMAIN.history else "docs/concepts.md"


class PromotionConfig(dg.Config):
    """Whether a run promotes what waits for a person. A run by the clock does not."""

    by_hand: bool = Field(
        default=False, description="Promote what is held for a preview, or waits by the policy manual."
    )
    alone: bool = Field(
        default=False, description="Only this table, not the others that fold by the same rules."
    )


def replay_asset(projection: Projection[Any], log: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """`<name>_replay`: the candidate of a projection, a partition a bucket, made by backfills only."""

    @dg.asset(
        name=f"{projection.name}_replay",
        description=f"`{projection.name}` computed again from the first event, in {BUCKETS} parts (the "
        "buckets of the log), in a candidate table beside the live one. It is made for a change of rules, or "
        "to prove the live table right, never by the clock.\n\nReaders notice nothing until the last part is "
        "there: then the next run of the live table compares both and takes the difference over. Launch it "
        "by the job `replay`; on this page *Materialize* wants all partitions selected.",
        group_name=group(projection),
        kinds={"python", "postgres"},
        owners=owners(),
        metadata=about(projection.candidate, "docs/howto/rules.md"),
        deps=[log],
        partitions_def=buckets,
        backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=settings.buckets_per_run()),
        code_version=projection.fold_version,
        pool="replay",
    )
    def replay(context: dg.AssetExecutionContext, store: EventStore) -> None:
        with store.connect() as connection:
            refuse_other_buckets(connection)
            events = count_rows(connection, "order_events").rows // BUCKETS
            for key in context.partition_keys:
                bucket = int(key)
                pace = told(context, f"replaying bucket {key}", events)
                done = replay_bucket(connection, bucket, projection, on_progress=pace)
                context.log.info(
                    f"bucket {key}: {counted(done.events, 'event')} folded into {counted(done.rows, 'row')}"
                )
                context.add_asset_metadata(
                    {
                        **numbers(events=done.events, rows=done.rows, seconds=done.seconds),
                        "quarantined": done.quarantined,
                        "watermark": str(done.watermark),
                        "dagster/partition_row_count": done.rows,
                        "dagster/table_name": table_name(
                            connection, projection.candidate_bucket(bucket, BUCKETS)
                        ),
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
        description=f"{projection.description}\n\nA run takes in the events since the last one. Where a "
        f"replay (`{projection.name}_replay`) is complete, it first takes over what differs there, in one "
        "transaction.",
        group_name=group(projection),
        kinds={"python", "postgres"},
        owners=owners(),
        metadata=about(projection.name, _page(projection), "docs/howto/rules.md"),
        deps=[log, dg.AssetDep(replay, partition_mapping=dg.AllPartitionMapping())],
        code_version=projection.fold_version,
        freshness_policy=FRESHNESS,
        # The first of those that change together comes first, and promotes all of them.
        op_tags={"dagster/priority": "1"} if group(projection) == projection.name else {},
        pool=_pool(projection),
    )
    def live(
        context: dg.AssetExecutionContext, config: PromotionConfig, store: EventStore
    ) -> dg.MaterializeResult[None]:
        with store.connect() as connection:
            promoted = _promote(context, connection, projection, config)
            left = partial(events_left, connection, projection.name)
            done = refresh(connection, projection, told(context, f"folding into {projection.name}", left))
            context.log.info(f"{counted(done.events, 'event')} folded into {counted(done.rows, 'row')}")
            found = standing(connection, projection.name)
            rules = found.fold_version if found else projection.fold_version
            return dg.MaterializeResult(
                metadata={
                    **numbers(events=done.events, rows=done.rows, seconds=done.seconds, lag=done.lag),
                    "refolded": done.refolded,
                    "watermark": str(done.watermark),
                    "fold_version": rules,
                    "promoted": projection.name in promoted,
                    **_difference(promoted.get(projection.name)),
                    **table(connection, projection.name),
                },
                # New events come all the time, and by its schedule every table behind this one takes them in:
                # that is no news of which a page should warn. Other rules are.
                data_version=dg.DataVersion(_data_version(rules)),
            )

    return live


def _promote(
    context: dg.AssetExecutionContext,
    connection: Connection,
    projection: Projection[Any],
    config: PromotionConfig,
) -> dict[str, Promoted]:
    """Promote the change that this projection is part of, where it is time; what was promoted."""
    together = (projection,) if config.alone else same_rules(DOMAIN, projection)
    waited = {each.projection.name for each in change_of(connection, together).tables if each.waits}
    promoted = promote_change(connection, together, by_hand=config.by_hand)
    if promoted is None:
        if config.by_hand:
            replays = " and ".join(f"{each.name}_replay" for each in together)
            raise dg.Failure(
                f"Nothing to promote: {change_of(connection, together).in_words}. Materialize all of "
                f"{replays}.",
                allow_retries=False,
            )
        return {}
    for name in waited:
        done = promoted[name]
        context.log.info(
            f"{name}: replay by rules {done.fold_version} promoted, {counted(done.added, 'row')} added, "
            f"{done.changed} changed, {done.gone} gone"
        )
        if name != projection.name:  # its own page would say nothing of it
            context.log_event(
                dg.AssetObservation(
                    name, metadata={"promoted": True, "fold_version": done.fold_version, **_difference(done)}
                )
            )
    return {name: promoted[name] for name in waited}


def _difference(promoted: Promoted | None) -> dict[str, Any]:
    return (
        {}
        if promoted is None
        else {"added": promoted.added, "changed": promoted.changed, "gone": promoted.gone}
    )


def _data_version(rules: str) -> str:
    """What makes what is behind a table stale: other rules, not new events."""
    return f"rules {rules}"


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


def promote_job(
    projection: Projection[Any],
    also: dg.AssetSelection | None = None,
    without: dg.AssetSelection | None = None,
) -> Any:
    """`promote_<name>`: a person makes a complete replay the live table, after reading its preview.

    Of the first of those that fold by the same rules: all of them, and ``also`` what is made from them. Each
    table is refreshed and checked as by every other run.
    """
    together = same_rules(DOMAIN, projection)
    is_whole = together[0] is projection
    names = [each.name for each in together] if is_whole else [projection.name]
    selection: dg.AssetSelection = dg.AssetSelection.assets(*names)
    selection = selection | also if also else selection
    selection = selection - without if without else selection
    config = PromotionConfig(by_hand=True, alone=not is_whole)
    tables = " and ".join(f"`{name}`" for name in names)
    return dg.define_asset_job(
        f"promote_{projection.name}",
        selection=selection,
        description=f"Make a complete replay the live {tables}, after reading the check `preview` of "
        f"`{projection.name}_replay`, and run every check. One that was interrupted goes on from there.",
        config=dg.RunConfig(ops={projection.name: config}),
        tags=tags(_HOUR),
        executor_def=dg.in_process_executor,
    )


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
            if (
                has_news(connection, projection.name)
                or ready_to_promote(connection, same_rules(DOMAIN, projection))
                or _is_promoted_since(context.instance, connection, projection)
            ):
                if _waits(context.instance, job.name):
                    return dg.SkipReason("A run that waits in the queue will take in what is new.")
                return dg.RunRequest()
        if is_due(context.instance, job.name):
            return dg.RunRequest()
        return dg.SkipReason(f"No event above the watermark of {name}, and no finished replay to promote.")

    return when_there_is_news


def _waits(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether a run is in the queue. While it is long, as the cluster is away, one more helps nobody."""
    queued = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.QUEUED])
    return bool(instance.get_run_ids(queued, limit=1))


def _is_promoted_since(
    instance: dg.DagsterInstance, connection: Connection, projection: Projection[Any]
) -> bool:
    """Whether the table follows other rules than when a run last told of it: it is to be checked again."""
    event = instance.get_latest_materialization_event(dg.AssetKey(projection.name))
    found = standing(connection, projection.name)
    if event is None or event.asset_materialization is None or found is None:
        return False
    told = (event.asset_materialization.tags or {}).get(DATA_VERSION_TAG, "")
    return told.split(" up to ")[0] != _data_version(found.fold_version)
