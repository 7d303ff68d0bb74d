"""kill -9 a process at a chosen point: where it waits for a lock that the test holds."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.log.connection import open_connection


@contextmanager
def running(script: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", script, url]) as process:
        try:
            yield process
        finally:
            process.kill()


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.02), stop=stop_after_delay(30))
def until(condition: Callable[[], bool]) -> bool:
    return condition()


def kill_when_it_waits_for_a_lock(
    script: str, url: str, connection: psycopg.Connection[Any], table: str
) -> None:
    """Let ``script`` run until it wants to write to ``table``, and kill it there.

    It gets the URL as its argument and opens its connections with the application name "victim".
    """

    def waits() -> bool:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'victim' AND wait_event_type = 'Lock'"
        ).fetchone()
        return row is not None and row[0] > 0

    def gone() -> bool:
        sessions = connection.execute(
            "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchall()
        return ("victim",) not in sessions

    with open_connection(url) as blocker, running(script, url) as process:
        with blocker.transaction():
            blocker.execute(f"LOCK TABLE {table} IN SHARE MODE")
            until(waits)
            process.send_signal(signal.SIGKILL)
            process.wait()
        until(gone)
