"""Bounds: what one event, line, file or session can do to the others."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(
        op.get_bind(), revision, "schema_functions", "guards", "consumers", "read_models", "landing", "roles"
    )
