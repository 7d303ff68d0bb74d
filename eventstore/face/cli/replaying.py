"""The replay of one or more projections, bucket by bucket, with a progress bar."""

from collections.abc import Iterable
from typing import Any

from eventstore.engine.candidate import standing_buckets
from eventstore.engine.projection import BUCKETS, Projection
from eventstore.engine.replay import replay_bucket
from eventstore.face.cli.progress import event_progress
from eventstore.face.cli.stopping import told_when_stopped
from eventstore.kernel.folding import Folding
from eventstore.log.connection import Connection
from eventstore.log.counting import count_rows


def replay_all(
    connection: Connection,
    projections: Iterable[Projection[Any]],
    folding: Folding,
    *,
    quiet: bool,
    only: Iterable[int] = (),
    go_on: bool = False,
) -> dict[str, dict[str, int]]:
    """Replay all buckets, ``only`` these, or, to ``go_on``, those that do not stand by these rules; what was
    done, by projection.

    No refresh promotes them in the meantime. Ctrl-C says which stand.
    """
    stand: dict[str, set[int]] = {}

    def kept() -> str:
        of_each = ", ".join(
            f"{len(buckets)} of {BUCKETS} buckets of {name}" for name, buckets in stand.items()
        )
        return (
            f"stopped: {of_each} stand, nothing is promoted; `eventstore replay --continue` goes on, where "
            "no rule has changed since"
        )

    done: dict[str, dict[str, int]] = {}
    with told_when_stopped(kept):
        for projection in projections:
            stand[projection.name] = standing_buckets(connection, projection, folding) if go_on else set()
            wanted = [
                each
                for each in sorted(set(only) or set(range(BUCKETS)))
                if each not in stand[projection.name]
            ]
            done[projection.name] = _replay(
                connection, projection, folding, wanted, stand[projection.name], quiet
            )
    return done


def _replay(
    connection: Connection,
    projection: Projection[Any],
    folding: Folding,
    buckets: list[int],
    stand: set[int],
    quiet: bool,
) -> dict[str, int]:
    total = count_rows(connection, "order_events").rows * len(buckets) // BUCKETS
    counts = {"events": 0, "rows": 0, "quarantined": 0}
    with event_progress(f"replaying {projection.name}", total, quiet=quiet) as advance:
        for bucket in buckets:
            done = replay_bucket(
                connection, bucket, projection, on_progress=advance, folding=folding, for_preview=True
            )
            stand.add(bucket)
            counts["events"] += done.events
            counts["rows"] += done.rows
            counts["quarantined"] += done.quarantined
    return counts
