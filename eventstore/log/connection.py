"""Connections to the database of the log, in the state that everything here counts on."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.string import TextLoader

from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.pooler import refuse_shared_sessions
from eventstore.server.databases import CONNECT_TIMEOUT_S, cannot_connect, parameters, why_unusable
from eventstore.server.urls import without_password

Connection = psycopg.Connection[tuple[Any, ...]]

#: First keys of two-key advisory locks; the horizon uses one-key locks, so the two cannot mix.
PROJECTION_LOCK = 0x4553
CONSUMER_LOCK = 0x4554
FOLLOWER_LOCK = 0x4556

#: How long a statement waits for a lock that another session holds.
LOCK_TIMEOUT_S = 10

#: Whatever the server, the database, the role or the URL says. First of all the search path: it decides what
#: the names in all other statements mean. Left alone: what only makes a query slow or fast, who one is
#: (``role``, ``session_replication_role``), and ``default_transaction_read_only``, which somebody meant.
_SETTINGS = {
    "search_path": "public",
    "client_encoding": "'UTF8'",
    "default_transaction_isolation": "'read committed'",  # others refuse appends, and reads behind a lock
    "default_transaction_deferrable": "off",
    "lock_timeout": f"'{LOCK_TIMEOUT_S}s'",
    "statement_timeout": "0",  # a replay takes as long as the log is long
    "idle_in_transaction_session_timeout": "0",  # ... and folds while its cursor waits
    "idle_session_timeout": "0",
    "TimeZone": "'UTC'",
    "DateStyle": "'ISO, MDY'",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "row_security": "on",
    "exit_on_error": "off",  # a refused event would end the session
}
_SETTINGS_17 = {"transaction_timeout": "0"}


def prepare(connection: Connection) -> None:
    """Set up a new connection: JSON by msgspec, and every setting that our statements depend on.

    Raises DatabaseUnavailableError for a server, a database or a pooler that cannot keep the log.
    """
    if reason := why_unusable(connection):
        raise DatabaseUnavailableError(reason)
    set_json_loads(msgspec.json.decode, connection)
    set_json_dumps(msgspec.json.encode, connection)
    connection.adapters.register_loader("inet", TextLoader)  # an address is only ever shown
    refuse_shared_sessions(connection)
    settings = _SETTINGS | (_SETTINGS_17 if connection.info.server_version >= 170000 else {})
    statements = "; ".join(f"SET {name} = {value}" for name, value in settings.items())
    with nullcontext() if connection.autocommit else connection.transaction():
        connection.execute(statements.encode())  # one round trip


def open_connection(url: str, *, application_name: str = "eventstore") -> Connection:
    """A new connection in autocommit mode.

    Raises DatabaseUnavailableError where no server answers at ``url``, or one that cannot keep the log.
    """
    return _open(url, application_name=application_name)


def must_be_a_store(url: str) -> None:
    """Raises DatabaseUnavailableError where the database at ``url`` was not set up, or no server answers."""
    with open_connection(url) as connection:
        if connection.execute("SELECT to_regclass('public.order_events')").fetchone() == (None,):
            raise no_store(url)


def no_store(url: str) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"{without_password(url)} is not an event store yet: run `eventstore init`"
    )


@contextmanager
def one_moment(connection: Connection) -> Iterator[None]:
    """A transaction whose statements all see the tables as they are at the first of them.

    A row of which somebody else commits a change meanwhile cannot be locked: SerializationFailure.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def sibling(connection: Connection) -> Connection:
    """A second connection to the same database, for streaming out while streaming in."""
    return _open(**parameters(connection))


def _open(conninfo: str = "", **options: Any) -> Connection:
    options = {"connect_timeout": CONNECT_TIMEOUT_S} | options
    try:
        connection = psycopg.connect(conninfo, autocommit=True, **options)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(cannot_connect(error)) from None
    try:
        prepare(connection)
    except BaseException:
        with suppress(psycopg.Error):
            connection.close()
        raise
    return connection
