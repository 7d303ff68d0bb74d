"""Files are known by their content, and move out of the landing folder when they were read."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "moved_files")
