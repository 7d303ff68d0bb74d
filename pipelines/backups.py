"""Backups by the clock: a base backup each night, and whenever there is none to go from."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from eventstore.log.connection import must_be_a_store
from eventstore.server import settings
from eventstore.server.backup import nightly
from pipelines.cluster.places import ON_HOST
from pipelines.projections import tags
from pipelines.resources import EventStore

_HOUR = 3600


@dg.op
def take_backup(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Copy the server into EVENTSTORE_BACKUPS, and delete what is older than the setting wants to keep."""
    backups = settings.backups()
    if backups is None:
        raise dg.Failure("EVENTSTORE_BACKUPS names no folder: no backup was taken.", allow_retries=False)
    with store.explaining():
        must_be_a_store(store.database_url())
        taken = nightly.take(store.database_url(), backups, timedelta(days=settings.backup_days()))
    if taken is None:
        context.log.info("Another process takes a backup now: nothing done.")
        return
    if taken.why_a_dump:
        context.log.warning(f"{taken.why_a_dump}. A dump was taken: nothing later than it can be restored.")
    backup = taken.found.backup
    context.add_output_metadata(
        {
            "backup": str(taken.found.folder),
            "kind": backup.kind,
            "megabytes": backup.bytes / 1e6,
            "seconds": (backup.finished_at - backup.started_at).total_seconds(),
            "pruned": [str(folder) for folder in taken.pruned],
        }
    )


@dg.job(tags={**tags(6 * _HOUR), **ON_HOST}, executor_def=dg.in_process_executor)
def backup() -> None:
    """Take a backup of the whole server now; where that may not be, a dump of the database."""
    take_backup()


@dg.schedule(
    name="backup_every_night",
    job=backup,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Takes a backup at 2:30 UTC; later where that was missed or there is none to go from.",
)
def backup_every_night(store: EventStore) -> dg.RunRequest | dg.SkipReason:
    backups = settings.backups()
    if backups is None:
        return dg.SkipReason("EVENTSTORE_BACKUPS names no folder: no backups are taken.")
    with store.explaining():
        why = nightly.why_due(store.database_url(), backups)
    if why is None:
        return dg.SkipReason("The last backup is good enough.")
    return dg.RunRequest(run_key=f"{why}, {datetime.now(UTC):%Y-%m-%d %H:%M}")
