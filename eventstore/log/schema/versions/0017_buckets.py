"""The number of buckets is chosen at init."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "buckets")
