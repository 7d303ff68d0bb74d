"""Bring a database to the newest schema, or say which revision it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from eventstore.log.connection import open_connection
from eventstore.log.outages import outages_explained
from eventstore.log.schema.functions import create_functions
from eventstore.log.schema.log_indexes import Say, build
from eventstore.log.schema.splitting import split
from eventstore.log.schema.trust import refuse_strangers
from eventstore.server.errors import ServerError

SCHEMA = Path(__file__).parent
_MIGRATION_LOCK = 0x45530001  # any number of its own: one migration at a time per database


def upgrade(
    url: str,
    revision: str = "head",
    *,
    functions: Path | None = None,
    buckets: int | None = None,
    say: Say = lambda _: None,
) -> None:
    """Migrate the database at ``url`` forwards and bring its functions up to date; does nothing where it is
    already there.

    ``functions`` is the folder of those that a domain brings; without it, those that are there stay.
    ``buckets`` is the number of buckets that the log is to have, 16 where nobody ever said it: another one
    than it has is only possible while it has no events.
    Several processes may call this at once: they take turns. What takes long, on a log with events, is done
    after that, beside all other work; ``say`` is told of it. Raises ServerError, and changes nothing, where
    others could tamper with the functions, where the database is of a release that this one does not know, or
    where the log cannot have that number of buckets.
    """
    with _connection(url) as connection, connection.begin():
        connection.execute(
            text("SELECT pg_advisory_xact_lock(0, CAST(:key AS int))"), {"key": _MIGRATION_LOCK}
        )
        config = configuration()
        config.attributes["connection"] = connection
        newest = _newest(connection)
        command.upgrade(config, revision)
        if revision == "head":
            if buckets is not None:
                split(connection, buckets)
            create_functions(connection, newest, functions)
            refuse_strangers(connection)
    if revision == "head":
        with outages_explained(url):
            build(url, say)


def configuration(schema: Path = SCHEMA) -> Config:
    """Alembic's, for the revisions of a folder."""
    config = Config()
    config.set_main_option("script_location", str(schema).replace("%", "%%"))
    return config


def revisions() -> list[str]:
    """All revisions, oldest first."""
    script = ScriptDirectory.from_config(configuration())
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def current(url: str) -> str | None:
    """The revision of the database at ``url``; None if it was never migrated."""
    with _connection(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _newest(connection: Connection) -> str:
    """The newest revision. Raises ServerError where there are several, or where the database has others."""
    script = ScriptDirectory.from_config(configuration())
    heads = script.get_heads()
    if len(heads) > 1:
        raise ServerError(
            f"the revisions {' and '.join(sorted(heads))} both come last: "
            '`make revision NAME="bring them together"` writes one that follows both'
        )
    for revision in MigrationContext.configure(connection).get_current_heads():
        try:
            script.get_revision(revision)
        except CommandError:
            raise ServerError(
                f"the database is at revision {revision}, which this release does not know: install the "
                "release that upgraded it, or a later one"
            ) from None
    return heads[0]


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    """SQLAlchemy's connection over one of ours, with the settings and the errors of all others.

    Raises DatabaseUnavailableError or BusyError; what else the database refuses, as psycopg says it.
    """

    def connect() -> psycopg.Connection[Any]:
        connection = open_connection(url, application_name="eventstore init")
        connection.autocommit = False
        return connection

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    with outages_explained(url):
        try:
            with engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise error.orig from None
            raise
