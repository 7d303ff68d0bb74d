"""Receive the log of DATABASE_URL into EVENTSTORE_BACKUPS, until stopped: what `make up` keeps running."""

import os
import sys

from eventstore.server import settings
from eventstore.server.backup import wal_archive
from eventstore.server.errors import ServerError


def main() -> int:  # noqa: RET503
    """Becomes pg_receivewal; what keeps it from that is one line and 1."""
    backups = settings.backups()
    if backups is None:
        return _failed("EVENTSTORE_BACKUPS names no folder")
    try:
        url = settings.database_url()
        command, environment = wal_archive.receive_command(url, wal_archive.prepare(url, backups))
    except ServerError as error:
        return _failed(str(error))
    os.execve(command[0], [*map(str, command)], environment)  # noqa: S606 - it is to be this process


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
