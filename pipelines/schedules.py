"""What runs by the clock."""

import dagster as dg

from eventstore.readmodels.projection import ORDERS
from eventstore.readmodels.registry import PROJECTIONS
from pipelines import jobs
from pipelines.projections import schedules

integrity_every_night = dg.ScheduleDefinition(
    name="integrity_every_night",
    job=jobs.integrity,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Replays the log beside `orders` and fails where the two differ.",
)

orders_every_minute, orders_every_hour = schedules(ORDERS, jobs.refresh_orders, "every_minute", "* * * * *")

_others = [
    schedule
    for projection in PROJECTIONS
    if projection is not ORDERS
    for schedule in schedules(
        projection, jobs.REFRESHES[projection.name], "every_five_minutes", "*/5 * * * *"
    )
]

metrics_every_ten_minutes = dg.ScheduleDefinition(
    name="metrics_every_ten_minutes",
    job=jobs.refresh_metrics,
    cron_schedule="*/10 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Brings customers and daily_order_metrics up to orders.",
)

history_check_every_night = dg.ScheduleDefinition(
    name="history_check_every_night",
    job=jobs.check_history,
    cron_schedule="0 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks through order_history for rows that contradict each other.",
)

# Yesterday, an hour after it ended: by then most of its late events are here; the others are folded in later.
snapshots_every_night = dg.build_schedule_from_partitioned_job(
    jobs.snapshot_day,
    name="snapshots_every_night",
    hour_of_day=1,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Builds the snapshots of yesterday; late events are folded into the days before.",
)

ALL = [
    orders_every_minute,
    orders_every_hour,
    *_others,
    metrics_every_ten_minutes,
    snapshots_every_night,
    integrity_every_night,
    history_check_every_night,
]
