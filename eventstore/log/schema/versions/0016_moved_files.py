"""Files are known by their content, and move out of the landing folder when they were read."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "moved_files")
