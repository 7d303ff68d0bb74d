"""Rejects can be discarded: kept, with who decided so and why."""

from alembic import op

from eventstore.log.schema.steps import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "rejects")
