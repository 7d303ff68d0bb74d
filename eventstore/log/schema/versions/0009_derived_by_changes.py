"""Derived tables follow what changes in their source; counts of orders; proofs in shares."""

from alembic import op

from eventstore.log.schema.steps import create_derived, create_queue, read_sql, run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    connection = op.get_bind()
    run_sql(connection, revision, "change_queues", "order_counts", "indexes", "proofs")
    for table in ("customers", "daily_order_metrics", "order_counts"):
        create_derived(connection, table, "orders", read_sql(revision, f"{table}_adds"))
    create_queue(
        connection,
        "quarantined_payments",
        "quarantine",
        read_sql(revision, "quarantined_payments_adds"),
        key=("order_id", "failed_at", "version"),
    )
