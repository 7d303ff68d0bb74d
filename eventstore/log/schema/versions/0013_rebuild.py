"""A rebuild of every read model remembers how far it is."""

from alembic import op

from eventstore.log.schema.steps import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "rebuild")
