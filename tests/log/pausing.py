"""Stop a session within a function of the database, so that others can go in between two of its steps."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.log.connection import open_connection

Connection = psycopg.Connection[Any]
T = TypeVar("T")

#: Sessions under this name stop at the places that `pause` has made.
PAUSED = "paused"


def set_clock(connection: Connection, ms: int) -> None:
    """Let the clock of this database stand still at ``ms``, for transactions that are under way too."""
    connection.execute("CREATE TABLE IF NOT EXISTS clock AS SELECT 0::bigint AS ms")
    connection.execute("UPDATE clock SET ms = %s", (ms,))
    run_clock(connection, "(SELECT ms FROM clock)")


def run_clock(connection: Connection, expression: str) -> None:
    """Let the clock of this database be an SQL expression."""
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE "
        f"RETURN ({expression})::bigint"
    )


def pause(connection: Connection, function: str, before: str) -> None:
    """Make a place in the function where sessions stop: before a piece of its text that stands there once."""
    row = connection.execute("SELECT pg_get_functiondef(%s::regproc)", (function,)).fetchone()
    assert row is not None
    text = str(row[0])
    assert text.count(before) == 1, f"{function}() does not have once: {before}"
    stop = (
        f"IF current_setting('application_name') = '{PAUSED}' THEN "
        "PERFORM pg_advisory_lock_shared(99, 0); PERFORM pg_advisory_unlock_shared(99, 0); END IF; "
    )
    connection.execute(text.replace(before, stop + before))


@contextmanager
def stopped(url: str, work: Callable[[Connection], T]) -> Iterator["Future[T]"]:
    """``work`` of another session that stands still at its pause, until the block is left."""
    with (
        open_connection(url) as keeper,
        open_connection(url, application_name=PAUSED) as session,
        ThreadPoolExecutor(1) as threads,
    ):
        keeper.execute("SELECT pg_advisory_lock(99, 0)")
        working = threads.submit(work, session)
        until(lambda: working.done() or is_blocked(keeper, session.info.backend_pid))
        if working.done():
            working.result()
            raise AssertionError("it did not come to its pause")
        try:
            yield working
        finally:
            keeper.execute("SELECT pg_advisory_unlock(99, 0)")
            working.exception(30)


def is_blocked(observer: Connection, pid: int) -> bool:
    row = observer.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (pid,)
    ).fetchone()
    return row == (True,)


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.01), stop=stop_after_delay(30))
def until(condition: Callable[[], bool]) -> bool:
    return condition()
