"""Settings of what is watched, alerted and kept: how late is too late, and for how long runs are kept."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "watch")
