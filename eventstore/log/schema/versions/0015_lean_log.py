"""A leaner log: identities as hashes, and an index by business time for long streams only."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "event_identity", "log_indexes")
