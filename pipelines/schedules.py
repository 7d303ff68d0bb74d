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

ALL = [orders_every_minute, orders_every_hour, *_others, integrity_every_night]
