"""The bitemporal history of orders, its replay, and the questions it answers."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "order_history", "orders_as_of", "order_as_of", "roles")
