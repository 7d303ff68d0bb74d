"""Settings of what is watched, alerted and kept: how late is too late, and for how long runs are kept."""

from alembic import op

from eventstore.log.schema.frozen import run_sql

<<<<<<< HEAD:eventstore/log/schema/versions/0011_watch.py
revision = "0011"
=======
revision = "0013"
>>>>>>> alerts:eventstore/log/schema/versions/0013_watch.py
down_revision = "0010"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "watch")
