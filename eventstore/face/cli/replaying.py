"""The replay of one or more projections, bucket by bucket, with a progress bar."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from eventstore.engine.candidate import standing_buckets
from eventstore.engine.projection import Projection
from eventstore.engine.replay import BucketReplayed, replay_bucket
from eventstore.face.cli.progress import event_progress
from eventstore.face.cli.replay_workers import WorkerError, replay_workers
from eventstore.face.cli.stopping import told_when_stopped
from eventstore.face.store import Store
from eventstore.kernel.folding import Folding
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows

#: Replays buckets of a projection by these rules; gives each that stands, and tells of events as they pass.
Replay = Callable[[Projection[Any], Folding, Iterable[int], Callable[[int], None]], Iterator[BucketReplayed]]


def replay_all(
    store: Store[Any],
    connection: Connection,
    projections: Iterable[Projection[Any]],
    folding: Folding,
    *,
    quiet: bool,
    only: Iterable[int] = (),
    go_on: bool = False,
    workers: int = 1,
    how_to_go_on: str = "`eventstore replay --continue` goes on, where no rule has changed since",
) -> dict[str, dict[str, int]]:
    """Replay all buckets, ``only`` these, or, to ``go_on``, those that do not stand by these rules; what was
    done, by projection. By as many ``workers`` side by side.

    No refresh promotes them in the meantime. Ctrl-C, and a worker that is gone, say which stand.
    """
    stand: dict[str, set[int]] = {}
    buckets = buckets_of(connection)

    def kept() -> str:
        of_each = ", ".join(f"{len(those)} of {buckets} buckets of {name}" for name, those in stand.items())
        return f"{of_each} stand, nothing is promoted; {how_to_go_on}"

    done: dict[str, dict[str, int]] = {}
    with told_when_stopped(lambda: f"stopped: {kept()}"):
        try:
            with _replaying(store, connection, workers) as replay:
                for projection in projections:
                    name = projection.name
                    stand[name] = standing_buckets(connection, projection, folding) if go_on else set()
                    wanted = sorted((set(only) or set(range(buckets))) - stand[name])
                    done[name] = _replay(
                        connection, replay, projection, folding, wanted, buckets, stand[name], quiet
                    )
        except WorkerError as error:
            raise WorkerError(f"{error}; {kept()}") from None
    return done


@contextmanager
def _replaying(store: Store[Any], connection: Connection, workers: int) -> Iterator[Replay]:
    """By this process itself where there is to be one only."""
    if workers > 1:
        with replay_workers(store.url, workers) as side_by_side:
            yield side_by_side.replay
        return

    def one_by_one(
        projection: Projection[Any],
        folding: Folding,
        buckets: Iterable[int],
        on_progress: Callable[[int], None],
    ) -> Iterator[BucketReplayed]:
        for bucket in buckets:
            yield replay_bucket(
                connection, bucket, projection, on_progress, folding=folding, for_preview=True
            )

    yield one_by_one


def _replay(
    connection: Connection,
    replay: Replay,
    projection: Projection[Any],
    folding: Folding,
    wanted: list[int],
    buckets: int,
    stand: set[int],
    quiet: bool,
) -> dict[str, int]:
    total = count_rows(connection, "order_events").rows * len(wanted) // buckets
    counts = {"events": 0, "rows": 0, "quarantined": 0}
    with event_progress(f"replaying {projection.name}", total, quiet=quiet) as advance:
        for done in replay(projection, folding, wanted, advance):
            stand.add(done.bucket)
            counts["events"] += done.events
            counts["rows"] += done.rows
            counts["quarantined"] += done.quarantined
    return counts
