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
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from eventstore.log.connection import open_connection
from eventstore.log.outages import outages_explained
from eventstore.log.schema.functions import create_functions
from eventstore.log.schema.trust import refuse_strangers

_HERE = Path(__file__).parent
_MIGRATION_LOCK = 0x45530001  # any number of its own: one migration at a time per database


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at ``url`` forwards and bring its functions up to date; does nothing where it is
    already there.

    Several processes may call this at once: they take turns. Raises ServerError, and changes nothing, where
    others could tamper with the functions.
    """
    with _connection(url) as connection, connection.begin():
        connection.execute(
            text("SELECT pg_advisory_xact_lock(0, CAST(:key AS int))"), {"key": _MIGRATION_LOCK}
        )
        command.upgrade(_config(connection), revision)
        if revision == "head":
            create_functions(connection)
            refuse_strangers(connection)


def revisions() -> list[str]:
    """All revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    script = ScriptDirectory.from_config(config)
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def current(url: str) -> str | None:
    """The revision of the database at ``url``; None if it was never migrated."""
    with _connection(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


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
