"""The bitemporal history of orders, its replay, and the questions it answers."""

from alembic import op

from eventstore.log.schema.steps import create_as_of_functions, run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "order_history")
    create_as_of_functions(op.get_bind())
    run_sql(op.get_bind(), revision, "roles")
