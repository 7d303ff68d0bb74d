"""The state of an order at a moment, of a short stream and of a very long one."""

import time
from collections.abc import Iterator
from datetime import datetime
from statistics import median
from uuid import UUID, uuid4

from eventstore.kernel.recorded import from_ms
from eventstore.log.connection import Connection, open_connection
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row, alternate
from tests.shipped import refresh_stale
from tests.shipped import state as state_at

_SHORT = 10
_CALLS = 20
_FIRST_MS = 1_767_225_600_000
_APART_MS = 60_000  # a long stream goes over many days

_STREAM = """
    INSERT INTO pg_temp.staged_events
           (line, order_id, event_type, event_data, created_at, source, source_id, metadata)
    SELECT n, %(order_id)s, 'OrderAmountCorrected',
           jsonb_build_object('amount', (n %% 1000)::text || '.50', 'currency', 'EUR'),
           %(first_ms)s + n * %(apart_ms)s, '/shop/service', n::text, '{}'
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) n"""


def state(bench: Bench) -> Iterator[Row]:
    long = bench.small
    log = bench.projected(bench.medium)
    with open_connection(log.url) as connection:
        streams = {events: _stream(connection, events) for events in (long, _SHORT)}
        kept = refresh_stale(connection)

        def seconds(events: int) -> float:
            """At a moment in the middle of the stream."""
            at: datetime = from_ms(_FIRST_MS + events // 2 * _APART_MS)
            times = []
            for _ in range(_CALLS):
                started = time.perf_counter()
                assert state_at(connection, streams[events], at=at) is not None
                times.append(time.perf_counter() - started)
            return 1000 * median(times)

        ours, theirs = alternate(bench.rounds, lambda: seconds(long), lambda: seconds(_SHORT))
    yield Row(
        measure=f"state(order, at) on a stream of {long:,} events",
        unit="ms",
        ours=ours,
        yardstick=f"on a stream of {_SHORT}",
        theirs=theirs,
        target=("<=", 5),
        note=f"at a moment in the middle of the stream; median of {_CALLS} calls, after a refresh of the "
        f"snapshots and checkpoints, which took {kept.seconds:.1f} s",
    )


def _stream(connection: Connection, events: int) -> UUID:
    order_id = uuid4()
    for first in range(1, events + 1, 10_000):
        last = min(first + 9_999, events)
        with connection.transaction():
            connection.execute("SELECT open_staging()")
            connection.execute(
                _STREAM,
                {
                    "order_id": order_id,
                    "first_ms": _FIRST_MS,
                    "apart_ms": _APART_MS,
                    "first": first,
                    "last": last,
                },
            )
            connection.execute("SELECT append_staged()")
    return order_id
