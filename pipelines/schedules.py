"""What runs by the clock."""

import dagster as dg

from eventstore.readmodels.promote import ready_to_promote
from eventstore.readmodels.refresh import has_news
from pipelines import jobs
from pipelines.resources import EventStore


@dg.schedule(
    job=jobs.refresh_orders,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Refreshes `orders` where there is something to do: new events, or a replay to promote.",
)
def orders_every_minute(store: EventStore) -> dg.RunRequest | dg.SkipReason:
    with store.connect() as connection:
        if has_news(connection) or ready_to_promote(connection):
            return dg.RunRequest()
    return dg.SkipReason("No event above the watermark of orders, and no finished replay to promote.")


#: Tells a quiet log from a schedule that stopped: without it, `orders` would look stale after a calm night.
orders_every_hour = dg.ScheduleDefinition(
    name="orders_every_hour",
    job=jobs.refresh_orders,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Refreshes `orders` and runs the checks whether or not there is news: the proof of life.",
)

ALL = [orders_every_minute, orders_every_hour]
