"""Room for the locks of all buckets: the embedded server is given it, of another it is said what lacks."""

import time
from pathlib import Path

from eventstore.log.buckets import LOCKS_A_BUCKET, buckets_of, locks_lacking
from eventstore.log.connection import Connection, open_connection
from eventstore.server import embedded

_OTHERS = """
    SELECT FROM pg_stat_activity
     WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()
"""
_LEAVING_S = 2  # the server lists a session that was closed for a moment still
_POLL_S = 0.02


def make_room(url: str, home: Path | None) -> tuple[str, str] | None:
    """Give the locks of the log at ``url`` room; returns what is lacking still, and what to do, if any.

    ``home`` is that of the embedded server, or None for a server that is not ours: it stays as it is. The
    size is read at the start only, so ours is started again, unless somebody else is connected.
    """
    with open_connection(url) as connection:
        number = buckets_of(connection)
        lacking = locks_lacking(connection, number)
        if lacking is None or home is None:
            return lacking
        # Kept by the data folder, hence by a base backup, too.
        connection.execute(f"ALTER SYSTEM SET max_locks_per_transaction = {LOCKS_A_BUCKET * number}".encode())
        alone = _is_alone(connection)
    if not alone:
        return lacking[0], "eventstore down; from its next start on the server has room for them"
    embedded.restart(home)
    return None


def _is_alone(connection: Connection) -> bool:
    """Whether nobody else is connected to the server, to whatever database."""
    deadline = time.monotonic() + _LEAVING_S
    while connection.execute(_OTHERS).fetchone() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
