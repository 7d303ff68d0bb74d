"""Create a database where it is missing."""

import psycopg
from psycopg import sql

from eventstore.server.errors import ServerError
from eventstore.server.urls import database_name, with_database, without_password

_TIMEOUT_S = 10


def ensure_database(url: str) -> None:
    """Create the database that ``url`` names, unless it exists. Several processes may do so at once."""
    try:
        psycopg.connect(url, connect_timeout=_TIMEOUT_S).close()
    except psycopg.OperationalError as error:
        refusal = error
    else:
        return
    name = database_name(url)
    try:
        server = psycopg.connect(with_database(url, "postgres"), autocommit=True, connect_timeout=_TIMEOUT_S)
    except psycopg.OperationalError:
        raise ServerError(f"cannot connect to {without_password(url)}: {_one_line(refusal)}") from None
    with server:
        if server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            _create(server, name)
            return
    try:  # it exists: another process may have made it meanwhile
        psycopg.connect(url, connect_timeout=_TIMEOUT_S).close()
    except psycopg.OperationalError as error:
        raise ServerError(f"cannot connect to {without_password(url)}: {_one_line(error)}") from None


def _create(server: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    """From template0, to which nobody can be connected: a busy template cannot be copied.

    Whoever can connect can hold locks that hold others up, so not everybody may: its owner, and whom the
    schema or an administrator grants CONNECT.
    """
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name))
    try:
        server.execute(statement)
        server.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        pass  # another process was faster
    except psycopg.errors.InsufficientPrivilege:
        role = server.info.user
        raise ServerError(
            f'the database "{name}" does not exist and "{role}" may not create it; '
            f'ask an administrator to run: CREATE DATABASE "{name}" OWNER "{role}"'
        ) from None
    except psycopg.Error as error:
        raise ServerError(f'cannot create the database "{name}": {_one_line(error)}') from None


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
