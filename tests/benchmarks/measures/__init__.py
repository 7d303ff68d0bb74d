"""The measures, in the order of a run. Each yields rows of the report as they are known."""

from collections.abc import Callable, Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.measures.append import append
from tests.benchmarks.measures.followed import followed
from tests.benchmarks.measures.growth import growth
from tests.benchmarks.measures.history import history
from tests.benchmarks.measures.ingest import ingest, release
from tests.benchmarks.measures.jobs import jobs
from tests.benchmarks.measures.latency import latency
from tests.benchmarks.measures.parallel import parallel
from tests.benchmarks.measures.refresh import refresh
from tests.benchmarks.measures.replay import replay
from tests.benchmarks.measures.seals import seals
from tests.benchmarks.measures.size import size
from tests.benchmarks.measures.state import state
from tests.benchmarks.measures.visible import visible
from tests.benchmarks.rows import Row

MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    measure.__name__: measure
    for measure in (
        append,
        size,
        ingest,
        release,
        replay,
        parallel,
        history,
        refresh,
        state,
        latency,
        growth,
        jobs,
        seals,
        visible,
        followed,
    )
}
