"""Epochs, and the horizon in a row: reads beside the primary, and after it."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "scanned_horizon", "epochs")
