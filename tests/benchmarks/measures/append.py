"""Appending one event per commit."""

from collections.abc import Iterator
from functools import partial

from eventstore.log.connection import open_connection
from tests.benchmarks import clients, pgbench, with_eventsourcing
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, alternate


def append(bench: Bench) -> Iterator[Row]:
    with bench.new_database() as url:
        with open_connection(url) as connection:
            insert = pgbench.insert(connection)
        for count, target in ((1, 0.7), (bench.clients, 0.6)):
            # Commits wait for a disk that others may use as well: many short rounds, not a few long ones.
            run = partial(pgbench.throughput, url, clients=count, seconds=bench.seconds / 3)
            ours, theirs = alternate(3 * bench.rounds, partial(run, pgbench.APPEND), partial(run, insert))
            yield Row(
                measure=f"append, 1 event per commit, {count} client{'s' if count > 1 else ''}",
                unit="events/s",
                ours=ours,
                yardstick="plain INSERT of the same row, same indexes",
                theirs=theirs,
                target=(">=", target),
                note="append_events() and INSERT, by pgbench, prepared, a new order each time",
            )
        with_eventsourcing.application(url).close()
        python = partial(clients.throughput, url=url, clients=bench.clients, seconds=bench.seconds)
        ours, theirs = alternate(
            bench.rounds, partial(python, clients.with_store), partial(python, clients.with_package)
        )
        yield Row(
            measure=f"append in Python, {bench.clients} clients",
            unit="events/s",
            ours=ours,
            yardstick="eventsourcing, saving one event",
            theirs=theirs,
            target=(">=", 5),
            note=f"{bench.clients} processes each; the processes take most of the processor time in both",
        )
        limit, theirs = alternate(
            bench.rounds, partial(python, clients.with_insert), partial(python, clients.with_package)
        )
        yield Row(
            measure=f"limit of it: plain INSERT in Python, {bench.clients} clients",
            unit="events/s",
            ours=limit,
            yardstick="eventsourcing, saving one event",
            theirs=theirs,
            note="what bounds the row above: one prepared statement, one round trip, no promises kept",
        )
