"""What runs by the clock."""

import dagster as dg

from eventstore.readmodels.promote import candidate_is_complete
from eventstore.readmodels.refresh import has_news
from pipelines import jobs
from pipelines.resources import EventStore


@dg.schedule(
    job=jobs.refresh_orders,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def orders_every_minute(store: EventStore) -> dg.RunRequest | dg.SkipReason:
    """Refreshes `orders` where there is something to do: new events, or a replay to promote."""
    with store.connect() as connection:
        if has_news(connection) or candidate_is_complete(connection):
            return dg.RunRequest()
    return dg.SkipReason("No event above the watermark of orders, and no finished replay to promote.")


#: Tells a quiet log from a schedule that stopped: without it, `orders` would look stale after a calm night.
orders_checkup = dg.ScheduleDefinition(
    name="orders_checkup",
    job=jobs.checkup,
    cron_schedule="0 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour, whether or not there is news: refresh orders and run every check.",
)

ALL = [orders_every_minute, orders_checkup]
