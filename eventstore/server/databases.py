"""Databases: create one that is missing, say why one cannot be reached or used."""

from typing import Any

import psycopg
from psycopg import sql

from eventstore.server.errors import ServerError
from eventstore.server.urls import database_name, with_database, without_password

CONNECT_TIMEOUT_S = 10

_OLDEST_VERSION = 15
#: What a server, or the network, says about a connection that it does not make, and what to do. These words
#: are all there is: before the connection stands, there is no code for the reason.
_REMEDIES = (
    (("password", "authentication", "pg_hba"), "check the user and the password in the URL"),
    (
        ("too many", "slots are reserved", "no more connections"),
        "close other sessions, or raise max_connections or the role's CONNECTION LIMIT",
    ),
    (("could not write", "No space left"), "free space on the disk of the server"),
    (("database system is", "not yet accepting"), "try again in a moment"),
    (("does not exist",), "check the URL; `eventstore init` creates a database that is missing"),
    (("permission denied",), "ask its owner for: GRANT CONNECT ON DATABASE"),
)


def cannot_connect(error: psycopg.Error) -> str:
    """One line for a connection that was not made: what the server or the network said, and what to do."""
    said = _one_line(error)
    remedy = "check that PostgreSQL runs there and that the URL names it"
    for words, advice in _REMEDIES:
        if any(word in said for word in words):
            remedy = advice
            break
    return f"cannot connect to the database: {said}: {remedy}"


def why_unusable(connection: psycopg.Connection[Any]) -> str | None:
    """Why the database of this connection cannot keep an event store; None where it can."""
    info = connection.info
    if info.server_version < _OLDEST_VERSION * 10_000:
        found = info.parameter_status("server_version") or info.server_version
        return f"this is PostgreSQL {found}: the event store needs {_OLDEST_VERSION} or newer"
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        return (
            f'the database "{info.dbname}" is encoded in {encoding}, which lacks characters: make one by '
            f"CREATE DATABASE \"{info.dbname}\" TEMPLATE template0 ENCODING 'UTF8', or name another in "
            "DATABASE_URL"
        )
    return None


def parameters(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """What opens another connection to the very server of this one, of several that a URL may name."""
    info = connection.info
    found: dict[str, Any] = {**info.get_parameters(), "dbname": info.dbname, "host": info.host}
    found["port"] = info.port
    if "hostaddr" in found:
        found["hostaddr"] = info.hostaddr
    if info.password:
        found["password"] = info.password
    return found


def ensure_database(url: str) -> None:
    """Create the database that ``url`` names, unless it exists. Several processes may do so at once.

    Raises ServerError where that cannot be done, or the database cannot keep an event store.
    """
    try:
        _check(url)
    except psycopg.OperationalError as error:
        refusal = error
    else:
        return
    name = database_name(url)
    try:
        server = psycopg.connect(
            with_database(url, "postgres"), autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
        )
    except psycopg.OperationalError:
        raise _unreachable(url, refusal) from None
    with server:
        if server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            _create(server, name)
            return
    try:  # it exists: another process may have made it meanwhile
        _check(url)
    except psycopg.OperationalError as error:
        raise _unreachable(url, error) from None


def drop_database(url: str) -> None:
    """Drop the database that ``url`` names, ending its sessions."""
    with psycopg.connect(
        with_database(url, "postgres"), autocommit=True, connect_timeout=CONNECT_TIMEOUT_S
    ) as server:
        name = sql.Identifier(database_name(url))
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


def _check(url: str) -> None:
    with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        if reason := why_unusable(connection):
            raise ServerError(reason)


def _unreachable(url: str, error: psycopg.Error) -> ServerError:
    return ServerError(
        cannot_connect(error).replace("the database", without_password(url), 1)  # which of two it is
    )


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
