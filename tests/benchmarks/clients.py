"""Many clients in Python, a process each, that append one event per commit for some seconds."""

import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from uuid import uuid4

from eventstore.kernel.recorded import from_ms
from eventstore.log.append import Fact
from eventstore.log.connection import open_connection
from eventstore.orders.events import OrderPaid
from tests.benchmarks import pgbench, with_eventsourcing
from tests.shipped import append

#: Opens a connection and returns what a client does again and again.
Client = Callable[[str], Callable[[], object]]

_AT = from_ms(1767225600000)


def with_store(url: str) -> Callable[[], object]:
    connection = open_connection(url)

    def one() -> object:
        paid = OrderPaid(amount="12.50", currency="EUR")  # type: ignore[arg-type]
        return append(connection, uuid4(), [Fact(paid, at=_AT, source="/payments", source_id=uuid4().hex)])

    return one


def with_package(url: str) -> Callable[[], object]:
    application = with_eventsourcing.application(url, create_table=False)

    def one() -> None:
        paid = '{"amount": "12.50", "currency": "EUR"}'
        with_eventsourcing.save(application, [(uuid4(), 1, "OrderPaid", paid, 1767225600000)])

    return one


def with_insert(url: str) -> Callable[[], object]:
    """The limit of what a client in Python can reach: the same row by a plain INSERT, one round trip."""
    connection = open_connection(url)
    insert = pgbench.insert_row(connection, order_id="%s", source_id="%s")

    def one() -> object:
        return connection.execute(insert, (uuid4(), uuid4().hex)).fetchone()

    return one


def throughput(client: Client, url: str, clients: int, seconds: float) -> float:
    """Events per second of all clients together."""
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    together, counts = context.Barrier(clients), context.Queue()
    workers = [
        context.Process(target=_work, args=(client, url, seconds, together, counts), daemon=True)
        for _ in range(clients)
    ]
    for worker in workers:
        worker.start()
    total = 0.0
    for _ in workers:
        rate, error = counts.get(timeout=seconds + 60)
        if error:
            raise RuntimeError(f"a client failed: {error}")
        total += rate
    for worker in workers:
        worker.join()
    return total


def _work(
    client: Client, url: str, seconds: float, together: Barrier, results: "Queue[tuple[float, str]]"
) -> None:
    try:
        one = client(url)
        for _ in range(6):  # psycopg prepares a statement at its sixth time
            one()
        together.wait(timeout=60)
        count, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            one()
            count += 1
        results.put((count / elapsed, ""))
    except Exception as error:
        results.put((0.0, repr(error)))
