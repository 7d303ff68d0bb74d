"""``make up``, as what is measured runs under it, and what its table shows."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from eventstore.log.connection import Connection
from tests.benchmarks.bench import Bench


def in_orders(connection: Connection, order_ids: list[UUID]) -> list[UUID]:
    """Those of the orders that the table shows."""
    rows = connection.execute("SELECT order_id FROM orders WHERE order_id = ANY(%s)", (order_ids,))
    return [order_id for (order_id,) in rows]


@contextmanager
def dagster(bench: Bench, url: str, *options: str) -> Iterator[None]:
    """``make up`` on a free port, ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = bench.scratch / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [sys.executable, "-m", "pipelines.up", "--port", str(port), *options],
            env={**os.environ, "DATABASE_URL": url, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
        )

    @retry(
        retry=retry_if_exception_type(OSError), stop=stop_after_delay(150), wait=wait_fixed(0.5), reraise=True
    )
    def wait() -> None:
        if up.poll() is not None:
            raise RuntimeError(f"make up ended: {log.read_text()[-500:]}")
        if "http://" not in log.read_text():
            raise OSError(f"make up is not ready: {log.read_text()[-500:]}")

    try:
        wait()
        yield
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(120)
