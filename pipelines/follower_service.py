"""The follower as a process that `make up` looks after: `eventstore refresh --follow`."""

import sys
from collections.abc import Mapping
from contextlib import suppress

import psycopg

from eventstore.engine.follow import follower
from eventstore.log.connection import open_connection
from eventstore.log.errors import EventStoreError
from eventstore.server import settings
from pipelines.log_file import LogFile
from pipelines.supervision import Say, Service

_COMMAND = [sys.executable, "-c", "from eventstore.face.cli import main; main()", "refresh", "--follow"]
#: A pass over many new events takes long, but the lock is held all the time.
_PATIENCE_S = 90


def follower_service(url: str, environment: Mapping[str, str], log: LogFile, say: Say) -> Service:
    """To be kept while the database serves. If somebody else follows already, it waits for its turn."""
    return Service(
        "follower",
        _COMMAND,
        lambda _: _is_followed(url),
        patience=_PATIENCE_S,
        environment=environment,
        folder=settings.dagster_home(),
        log=log,
        say=say,
        of="The",
    )


def _is_followed(url: str) -> bool | None:
    """Whether somebody follows the log; None while the database is away."""
    with suppress(EventStoreError, psycopg.Error), open_connection(url) as connection:
        return follower(connection) is not None
    return None
