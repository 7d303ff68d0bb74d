"""What runs by the clock."""

from datetime import UTC, datetime

import dagster as dg

from eventstore.engine.change import change_of, same_rules
from eventstore.engine.derived import EVERY_TEN_MINUTES
from eventstore.engine.interpretations import interpretations
from eventstore.engine.lateness import EVERY_FIVE_MINUTES, EVERY_MINUTE
from eventstore.engine.snapshots.due import Days, days_due, last_settled
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.log.feed import BEGINNING, has_events_after
from eventstore.log.holders import overdue_holders
from eventstore.orders.domain import DOMAIN
from pipelines import jobs
from pipelines.partitions import FIRST_DAY, range_of
from pipelines.projections import schedule
from pipelines.resources import EventStore

integrity_every_night = dg.ScheduleDefinition(
    name="integrity_every_night",
    job=jobs.integrity,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares the next rows of every read model with a fold of their events.",
)

orders_every_minute = schedule(DOMAIN.states, jobs.refresh_orders, "every_minute", EVERY_MINUTE)

_others = [
    schedule(projection, jobs.REFRESHES[projection.name], "every_five_minutes", EVERY_FIVE_MINUTES)
    for projection in DOMAIN.projections[1:]
]

metrics_every_ten_minutes = dg.ScheduleDefinition(
    name="metrics_every_ten_minutes",
    job=jobs.refresh_metrics,
    cron_schedule=EVERY_TEN_MINUTES,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Brings customers, daily_order_metrics and the other derived tables up to orders.",
)

_derived = [
    dg.ScheduleDefinition(
        name=f"{table.name}_on_schedule",
        job=jobs.DERIVED[table.name],
        cron_schedule=table.schedule,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Brings {table.name} up to {table.source.name}.",
    )
    for table in DOMAIN.derived
    if table.name in jobs.DERIVED
]

history_check_every_night = dg.ScheduleDefinition(
    name="history_check_every_night",
    job=jobs.check_history,
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks through the next part of order_history for rows that contradict each other.",
)


@dg.schedule(
    name="end_holders_every_minute",
    job=jobs.end_holders,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Ends the sessions that have kept readers or writers waiting for longer than `max_hold`.",
)
def end_holders_every_minute(store: EventStore) -> dg.RunRequest | dg.SkipReason:
    with store.connect() as connection:
        overdue = overdue_holders(connection)
    if not overdue:
        return dg.SkipReason("Nobody has kept readers or writers waiting for long.")
    # At once for each, then every ten minutes: a prepared transaction, or one of a superuser, may stay.
    which = ", ".join(sorted(f"{holder.gid or holder.pid} {holder.since.isoformat()}" for holder in overdue))
    return dg.RunRequest(run_key=f"{which[:500]} at {datetime.now(UTC):%Y-%m-%d %H:%M}"[:-1])


@dg.schedule(
    name="rules_every_minute",
    job=jobs.follow_rules,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="After a promotion, lets what is made from `orders` follow its rules.",
)
def rules_every_minute(store: EventStore) -> dg.RunRequest | dg.SkipReason:
    with store.connect() as connection:
        live = {table.live for table in change_of(connection, same_rules(DOMAIN, DOMAIN.states)).tables}
        disagreeing = [
            each for each in interpretations(connection, DOMAIN) if DOMAIN.states.name in each.rules
        ]
    if not disagreeing:
        return dg.SkipReason("Everything that is made from orders follows its rules.")
    if len(live - {None}) > 1:
        return dg.SkipReason(f"A promotion is not through: {disagreeing[0].in_words}.")
    return dg.RunRequest()


@dg.schedule(
    name="snapshots_every_night",
    job=jobs.snapshot_day,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Builds the snapshots of yesterday at one in the morning (UTC), of a week soon after the "
    "first start, and of nights that were missed; late events are folded into the days before.",
)
def snapshots_every_night(
    context: dg.ScheduleEvaluationContext, store: EventStore
) -> dg.RunRequest | dg.SkipReason:
    now = datetime.now(UTC)
    with store.connect() as connection:
        due = days_due(connection, now)
        if due is None and has_events_after(connection, BEGINNING) and not _was_built(context.instance):
            due = Days(last_settled(now), last_settled(now))  # somebody built it elsewhere: show it here, too
    if due is None:
        return dg.SkipReason("Every day that is over is built, or the log has no events yet.")
    first, last = (max(day, FIRST_DAY) for day in due)
    # The key: one run that fails, or takes long, is asked for again in an hour, not in a minute.
    return dg.RunRequest(
        run_key=f"{first} to {last}, {now:%Y-%m-%d %H}h", tags=range_of(str(first), str(last))
    )


def _was_built(instance: dg.DagsterInstance) -> bool:
    return instance.get_latest_materialization_event(dg.AssetKey(SNAPSHOTS)) is not None


ALL = [
    orders_every_minute,
    *_others,
    metrics_every_ten_minutes,
    *_derived,
    snapshots_every_night,
    integrity_every_night,
    history_check_every_night,
    end_holders_every_minute,
    rules_every_minute,
]
