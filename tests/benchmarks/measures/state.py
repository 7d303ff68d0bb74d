"""The state of an order at a moment, of a short stream and of a very long one."""

from collections.abc import Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import Row


def state(bench: Bench) -> Iterator[Row]:
    yield from ()
