"""The log, ingestion, the orders projection and its replay, and the roles."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(
        op.get_bind(),
        revision,
        "event_is_valid",
        "order_events",
        "refuse_change",
        "clock_ms",
        "uuidv7",
        "order_bucket",
        "business_ms",
        "check_event",
        "feed_horizon",
        "hold_horizon",
        "record_events",
        "publish_horizon",
        "horizon_ms",
        "read_events",
        "horizon_holders",
        "projections",
        "orders",
        "ingestion",
        "open_staging",
        "append_staged",
        "roles",
        "consumers",
        "orders_candidate",
    )
