"""Thresholds as settings; the functions of a domain beside those of the log."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "schema_functions", "settings")
