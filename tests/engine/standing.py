"""Whether a table of states stands exactly at its watermark; and what goes in between two steps."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest

from tests.log.pausing import is_blocked, until

Connection = psycopg.Connection[Any]
T = TypeVar("T")


def differences(
    connection: Connection, table: str = "orders", watermark: UUID | None = None
) -> list[tuple[UUID, int | None, int | None]]:
    """Orders whose row does not hold exactly the events up to the watermark: (order, held, recorded)."""
    return connection.execute(
        "SELECT order_id, o.version, e.version FROM "
        "(SELECT order_id, max(version) AS version FROM order_events WHERE id <= coalesce(%s, "
        "(SELECT watermark FROM projections WHERE name = 'orders')) GROUP BY order_id) e "
        f"FULL JOIN {table} o USING (order_id) WHERE o.version IS DISTINCT FROM e.version",
        (watermark,),
    ).fetchall()


def before_call(
    monkeypatch: pytest.MonkeyPatch, module: object, step: str, time: int, do: Callable[[], object]
) -> None:
    """Before the ``time``-th call of a step, ``do`` something else, once."""
    original: Callable[..., Any] = getattr(module, step)
    calls = 0

    def stepped(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == time:
            do()
        return original(*given, **named)

    monkeypatch.setattr(module, step, stepped)


def begin(
    threads: ThreadPoolExecutor, observer: Connection, session: Connection, work: Callable[[], T]
) -> "Future[T]":
    """Begin it in another session, and come back when it is done or waits for somebody."""
    working = threads.submit(work)
    until(lambda: working.done() or is_blocked(observer, session.info.backend_pid))
    return working
