"""Seals: Merkle trees over the log, and signed checkpoints of them."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "seals")
