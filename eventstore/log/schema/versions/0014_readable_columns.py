"""Every column says what it is, so that one who has not read the docs understands it."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "readable_columns")
