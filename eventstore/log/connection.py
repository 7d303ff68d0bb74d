"""Connections to the database of the log."""

from typing import Any

import msgspec
import psycopg
from psycopg.types.json import set_json_dumps, set_json_loads

from eventstore.log.errors import DatabaseUnavailableError

Connection = psycopg.Connection[tuple[Any, ...]]

#: First keys of two-key advisory locks; the horizon uses one-key locks, so the two cannot mix.
PROJECTION_LOCK = 0x4553
CONSUMER_LOCK = 0x4554


def prepare(connection: Connection) -> None:
    """Set up a new connection: JSON by msgspec, times in UTC."""
    set_json_loads(msgspec.json.decode, connection)
    set_json_dumps(msgspec.json.encode, connection)
    with connection.transaction():
        connection.execute("SET TIME ZONE 'UTC'")


def open_connection(url: str, *, application_name: str = "eventstore") -> Connection:
    """A new connection in autocommit mode.

    Raises DatabaseUnavailableError where no server answers at ``url``.
    """
    try:
        connection = psycopg.connect(
            url, autocommit=True, application_name=application_name, connect_timeout=10
        )
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(f"cannot connect to the database: {str(error).strip()}") from None
    prepare(connection)
    return connection


def sibling(connection: Connection) -> Connection:
    """A second connection to the same database, for streaming out while streaming in."""
    parameters: dict[str, Any] = {**connection.info.get_parameters(), "dbname": connection.info.dbname}
    if connection.info.password:
        parameters["password"] = connection.info.password
    other: Connection = psycopg.connect(**parameters, autocommit=True)
    prepare(other)
    return other
