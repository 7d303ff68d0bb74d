"""Appending one event per commit."""

from collections.abc import Iterator
from functools import partial

from eventstore.log.connection import open_connection
from tests.benchmarks import clients, pgbench, with_eventsourcing
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, alternate

_SHORT, _SHORT_ONES = 10, 1_000

#: Streams of a number of events each, named by a word and a number.
_STREAMS = """
    INSERT INTO pg_temp.staged_events
           (line, order_id, event_type, event_data, created_at, source, source_id, metadata)
    SELECT row_number() OVER (), md5(%(word)s || n)::uuid, 'OrderPaid',
           '{"amount": "12.50", "currency": "EUR"}', 1767225600000 + event, '/payments', event::text, '{}'
      FROM generate_series(1, %(streams)s::int) n, generate_series(1, %(events)s::int) event"""

#: Without a time: it must not lie before the latest one of the stream.
_UNDATED = """\\set n random(1, {streams})
SELECT * FROM append_events(md5('{word}' || :n)::uuid, '[{{"type": "OrderPaid", \
"data": {{"amount": "12.50", "currency": "EUR"}}}}]');
"""


def append(bench: Bench) -> Iterator[Row]:
    yield from _single(bench)
    yield from _undated(bench)


def _undated(bench: Bench) -> Iterator[Row]:
    streams = {"long": (1, bench.small), "short": (_SHORT_ONES, _SHORT)}
    with bench.new_database() as url:
        with open_connection(url) as connection:
            for word, (count, events) in streams.items():
                with connection.transaction():
                    connection.execute("SELECT open_staging()")
                    connection.execute(_STREAMS, {"word": word, "streams": count, "events": events})
                    connection.execute("SELECT append_staged()")
            connection.execute("VACUUM ANALYZE order_events")

        def milliseconds(word: str) -> float:
            script = _UNDATED.format(word=word, streams=streams[word][0])
            return 1000 / pgbench.throughput(url, script, clients=1, transactions=max(10, bench.few))

        ours, theirs = alternate(
            3 * bench.rounds, partial(milliseconds, "long"), partial(milliseconds, "short")
        )
    yield Row(
        measure=f"append without a time to a stream of {bench.small:,} events",
        unit="ms",
        ours=ours,
        yardstick=f"to streams of {_SHORT}",
        theirs=theirs,
        target=("<=", 1.1),
        note="append_events(), by pgbench, prepared, 1 client",
    )


def _single(bench: Bench) -> Iterator[Row]:
    with bench.new_database() as url:
        with open_connection(url) as connection:
            insert = pgbench.insert(connection)
        for count, target in ((1, 0.7), (bench.clients, 0.7)):
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
