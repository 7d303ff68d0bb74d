"""Rejects keep the format that they came in."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "rejects")
