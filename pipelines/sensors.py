"""What runs when something happens outside."""

from collections.abc import Iterator

import dagster as dg

from eventstore.ingestion.load import files_waiting
from eventstore.server import settings
from pipelines import jobs
from pipelines.assets import IngestConfig
from pipelines.resources import EventStore


@dg.sensor(
    job=jobs.ingest_and_refresh,
    minimum_interval_seconds=4,  # the daemon looks every 5 s: with 5, each second look is too early
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A run for each new or changed file in the landing folder takes its events on into `orders`.",
)
def landing_files(store: EventStore) -> Iterator[dg.RunRequest | dg.SkipReason]:
    folder = settings.landing()
    with store.connect() as connection:
        waiting = files_waiting(connection, folder)
    if not waiting:
        yield dg.SkipReason(f"No new file in {folder}.")
    for path in waiting:
        file = path.stat()
        yield dg.RunRequest(
            run_key=f"{path.name}:{file.st_size}:{file.st_mtime_ns}",
            run_config=dg.RunConfig(ops={"order_events": IngestConfig(paths=[str(path)])}),
            tags={"eventstore/file": path.name},
        )


ALL = [landing_files]
