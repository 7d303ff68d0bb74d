"""Daily snapshots of orders; customers and daily metrics, downstream of them."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(
        op.get_bind(),
        revision,
        "business_day",
        "order_version_at",
        "order_snapshots",
        "latest_snapshot",
        "state_limits",
        "event_amount",
        "customers",
        "customers_as_of",
        "daily_order_metrics",
        "roles",
    )
