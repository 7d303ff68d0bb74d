"""The assets: what the tables are and how they come about. A body calls `eventstore` and reports back."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from eventstore.ingestion.load import files_waiting, ingest
from eventstore.readmodels.registry import PROJECTIONS
from eventstore.server import settings
from pipelines.metadata import count_by, per_second, table
from pipelines.projections import OWNERS, live_asset, replay_asset
from pipelines.resources import EventStore


class IngestConfig(dg.Config):
    """Which files to ingest."""

    paths: list[str] = Field(
        default_factory=list, description="None given: all files that wait in the landing folder."
    )


@dg.asset(
    group_name="log",
    kinds={"python", "postgres"},
    owners=OWNERS,
    pool="ingest",
)
def order_events(
    context: dg.AssetExecutionContext, config: IngestConfig, store: EventStore
) -> dg.MaterializeResult[None]:
    """The log: every change to an order, as an immutable event. A run appends files of the landing folder.

    Lines that cannot be appended go to the table `rejects` with their reason; events that are in the log
    already are counted as duplicates, so that the same file twice does no harm.
    """
    with store.connect() as connection:
        paths = [Path(path) for path in config.paths] or files_waiting(connection, settings.landing())
        done = ingest(connection, paths)
        context.log.info(
            f"{done.appended} events appended, {done.duplicates} duplicates, {done.rejected} rejected"
        )
        return dg.MaterializeResult(
            metadata={
                "events": done.appended,
                "read": done.read,
                "duplicates": done.duplicates,
                "rejected": done.rejected,
                "rejects_by_reason": count_by("reason", done.rejects_by_reason),
                "files": [file.file for file in done.files],
                "events_per_second": per_second(done.appended, done.seconds),
                **table(connection, "order_events"),
            },
            # Appending changes nothing that was in the log before: what was replayed from it stays valid.
            data_version=dg.DataVersion("append-only"),
        )


REPLAYS = {projection.name: replay_asset(projection, order_events) for projection in PROJECTIONS}
LIVE = {
    projection.name: live_asset(projection, order_events, REPLAYS[projection.name])
    for projection in PROJECTIONS
}
orders, orders_replay = LIVE["orders"], REPLAYS["orders"]

ALL = [order_events, *REPLAYS.values(), *LIVE.values()]
