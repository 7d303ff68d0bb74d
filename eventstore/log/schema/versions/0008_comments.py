"""What each table and column is: comments, for `\\d+` and for the reference."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "comments")
