"""Bring a database to the newest schema, or say which revision it has."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

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
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(0, CAST(:key AS int))"), {"key": _MIGRATION_LOCK}
            )
            command.upgrade(_config(connection), revision)
            if revision == "head":
                create_functions(connection)
                refuse_strangers(connection)
    finally:
        engine.dispose()


def revisions() -> list[str]:
    """All revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    script = ScriptDirectory.from_config(config)
    return [revision.revision for revision in reversed(list(script.walk_revisions()))]


def current(url: str) -> str | None:
    """The revision of the database at ``url``; None if it was never migrated."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
