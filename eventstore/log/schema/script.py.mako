<%! import re %>\
"""${message[:1].upper()}${message[1:]}."""
% if not isinstance(down_revision, tuple):

from alembic import op

from eventstore.log.schema.frozen import run_sql
% endif

revision = ${repr(up_revision).replace("'", '"')}
down_revision = ${repr(down_revision).replace("'", '"')}


def upgrade() -> None:
% if isinstance(down_revision, tuple):
    """Nothing: both are run before."""
% else:
    run_sql(op.get_bind(), revision, "${"_".join(re.findall(r"\w+", message)).lower()}")
% endif
