"""Rejects keep the format that they came in."""

from alembic import op

from eventstore.log.schema.steps import run_sql

revision = "0009"
down_revision = "0004"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "rejects")
