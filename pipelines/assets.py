"""The assets: what the tables are and how they come about. A body calls `eventstore` and reports back."""

import dagster as dg
from pydantic import Field

from eventstore.ingestion.addresses import has_secrets, is_address, shown
from eventstore.ingestion.files import InputFileError
from eventstore.ingestion.load import ingest, ingest_landing
from eventstore.kernel.addresses import beginning_of, begins_like_one
from eventstore.kernel.counted import counted
from eventstore.orders.domain import DOMAIN
from eventstore.server import settings
from pipelines.catalogue import about, owners
from pipelines.metadata import count_by, lines_by_file, moved_files, numbers, table, with_reasons
from pipelines.projections import live_asset, replay_asset
from pipelines.resources import EventStore
from pipelines.telling import told_of_files


class IngestConfig(dg.Config):
    """Which files to ingest."""

    paths: list[str] = Field(
        default_factory=list,
        description="Files, folders or URLs. None given: what waits in the landing folder, as much as a run "
        "takes.",
    )


@dg.asset(
    group_name="log",
    kinds={"python", "postgres"},
    owners=owners(),
    metadata=about("order_events", "docs/howto/ingest.md", "docs/reference/events.md"),
    pool="ingest",
)
def order_events(
    context: dg.AssetExecutionContext, config: IngestConfig, store: EventStore
) -> dg.MaterializeResult[None]:
    """The log: every change to an order, as an event that never changes. All other tables are made from it.

    A run appends the files that wait in the landing folder; Python and SQL append without a run.
    Lines that cannot be appended go to the table `rejects` with their reason; events that are in the log
    already are counted as duplicates, so that the same file twice does no harm. A file that cannot be read is
    tried again after growing pauses, after the others; it fails no run.
    """
    with store.connect() as connection:
        try:
            done = (
                ingest(
                    connection,
                    DOMAIN.events,
                    DOMAIN.formats,
                    _without_secrets(config.paths),
                    landing=settings.landing_place() if settings.move_files() else None,
                    on_progress=told_of_files(context),
                )
                if config.paths
                else ingest_landing(
                    connection,
                    DOMAIN.events,
                    DOMAIN.formats,
                    settings.landing_place(),
                    move=settings.move_files(),
                    on_progress=told_of_files(context),
                )
            )
        except InputFileError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        where = table(connection, "order_events")
    context.log.info(
        f"{counted(len(done.files), 'file')}: {counted(done.appended, 'event')} appended, "
        f"{counted(done.duplicates, 'duplicate')}, {done.rejected:,} rejected"
    )
    if done.rejected:
        reasons = ", ".join(f"{reason} {count}" for reason, count in done.rejects_by_reason.items())
        context.log.warning(
            f"{counted(done.rejected, 'line')} could not be appended ({reasons}): `eventstore "
            "rejects` shows them"
        )
    for sentence in done.known:
        context.log.info(sentence)
    for each in done.not_moved:
        context.log.warning(f"read, but not moved: {each.file} ({each.reason})")
    for each in done.failed:
        context.log.warning(f"not read to its end: {each.file} ({each.reason})")
    return dg.MaterializeResult(
        metadata={
            **numbers(events=done.appended, seconds=done.seconds),
            "read": done.read,
            "duplicates": done.duplicates,
            "rejected": done.rejected,
            "rejects_by_reason": count_by("reason", done.rejects_by_reason),
            "files": [file.file for file in done.files],
            "lines_by_file": lines_by_file(done.files),
            "failed_files": with_reasons(done.failed),
            "skipped_names": with_reasons(done.skipped),
            "moved_files": moved_files(done.moved),
            "files_not_moved": with_reasons(done.not_moved),
            **where,
        },
        # Appending changes nothing that was in the log before: what was replayed from it stays valid.
        data_version=dg.DataVersion("append-only"),
    )


def _without_secrets(paths: list[str]) -> list[str]:
    """A run's configuration is kept, and shown on its page."""
    for path in paths:
        mistyped = begins_like_one(path) and not is_address(path) and "@" in path
        if mistyped or (is_address(path) and has_secrets(path)):
            said = beginning_of(path) if mistyped else shown(path)
            raise dg.Failure(
                f"{said}: what stands before @, or from ? or # on, may be a secret, and a run keeps "
                "its configuration: take it to `eventstore ingest`",
                allow_retries=False,
            )
    return paths


REPLAYS = {projection.name: replay_asset(projection, order_events) for projection in DOMAIN.projections}
LIVE = {
    projection.name: live_asset(projection, order_events, REPLAYS[projection.name])
    for projection in DOMAIN.projections
}
orders = LIVE[DOMAIN.states.name]
order_history = LIVE[DOMAIN.history.name]

ALL = [order_events, *REPLAYS.values(), *LIVE.values()]
