"""Recognise a pooler that lends a connection of the server to one client after the other.

Behind such a one the prepared statements, temporary tables, settings and locks of different clients get mixed
up. A pooler that gives each client a connection of its own for as long as it stays is as good as none.
"""

import random
import selectors
import time
from typing import Any

import psycopg
from psycopg import pq

from eventstore.log.errors import DatabaseUnavailableError
from eventstore.server.databases import CONNECT_TIMEOUT_S, cannot_connect, parameters

_ROUNDS = 20
_ROUNDS_S = 3.0  # of a pool that is busy
_OTHER_WAITS_S = 2.0  # behind a pooler of the good kind it waits for ever where there is one place
_WAIT_S = 10.0

#: Where this process has looked already, and all was well.
_looked_at: set[tuple[str, int, str, str]] = set()


def refuse_shared_sessions(connection: psycopg.Connection[Any]) -> None:
    """Raise DatabaseUnavailableError where ``connection``, which is idle, leads to a pooler that shares.

    Looks once per process and database; costs one round trip where there is no pooler.
    """
    info = connection.info
    where = (info.host, info.port, info.dbname, info.user)
    if where in _looked_at:
        return
    # A pooler cannot know which server it will lend: it makes up the process id that it tells its client.
    if _server_of(connection) != info.backend_pid and _is_shared(connection):
        raise DatabaseUnavailableError(
            f"the pooler at {info.host}:{info.port} lends a connection of the server to one client after the "
            "other, which mixes up their prepared statements, temporary tables and locks: set pool_mode = "
            f'session there for the database "{info.dbname}", or give the address of PostgreSQL itself'
        )
    _looked_at.add(where)


def _is_shared(connection: psycopg.Connection[Any]) -> bool:
    """Whether a second client is served by the process that served this one, which has not left."""
    try:
        other = psycopg.connect(
            **({"connect_timeout": CONNECT_TIMEOUT_S} | parameters(connection)), autocommit=True
        )
    except psycopg.OperationalError:
        return False  # no place for a second client
    deadline = time.monotonic() + _ROUNDS_S
    try:
        for _ in range(_ROUNDS):
            began = time.monotonic()
            mine = _server_of(connection)
            _ask(other)
            theirs = _answer(other, _OTHER_WAITS_S)
            again = _server_of(connection)  # clients that share wait in a queue: the other one comes first
            theirs = theirs or _answer(other, 0)
            if again != mine or theirs == mine:
                return True
            if theirs is None or time.monotonic() > deadline:
                return False
            # Clients in step with one another could get the same server again and again.
            time.sleep(random.uniform(0, time.monotonic() - began))  # noqa: S311
    except psycopg.OperationalError:
        return False
    finally:
        other.close()
    return False


def _server_of(connection: psycopg.Connection[Any]) -> int:
    """The process that serves this connection now. Raises DatabaseUnavailableError if none does in time."""
    try:
        _ask(connection)
        server = _answer(connection, _WAIT_S)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(cannot_connect(error)) from None
    if server is None:
        raise DatabaseUnavailableError(
            f"the pooler at {connection.info.host}:{connection.info.port} had no free server connection "
            f"for {_WAIT_S:.0f} seconds: give it a larger pool, or close other sessions"
        )
    return server


def _ask(connection: psycopg.Connection[Any]) -> None:
    connection.pgconn.send_query(b"SELECT pg_catalog.pg_backend_pid()")


def _answer(connection: psycopg.Connection[Any], seconds: float) -> int | None:
    """The answer to `_ask`, None if there is none yet. A statement of psycopg could not be left waiting."""
    pgconn, deadline = connection.pgconn, time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(pgconn.socket, selectors.EVENT_READ)
        pgconn.consume_input()
        while pgconn.is_busy():
            if not selector.select(deadline - time.monotonic()):
                return None
            pgconn.consume_input()
    server: int | None = None
    while result := pgconn.get_result():
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise psycopg.OperationalError(pgconn.get_error_message())
        server = int(result.get_value(0, 0) or 0)
    return server
