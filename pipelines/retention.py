"""Dagster's own database stays small: old runs, their logs, and old ticks go, each night.

What a page shows last never goes: the run of the latest materialization, observation or check of an asset or
of a partition, the latest run of each job, whatever is not finished, and the runs of a backfill that is not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

from eventstore.kernel.counted import counted, lasting
from eventstore.log.settings import policy
from eventstore.log.sizes import dagster_bytes
from pipelines.cluster.places import ON_HOST
from pipelines.projections import tags
from pipelines.resources import EventStore

_PAGE = 500
#: What a night deletes at most; the next goes on.
MOST = 50_000
_RUNLESS = ""
_OPEN_BACKFILLS = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


class Swept(NamedTuple):
    """What a sweep deleted, and left."""

    runs: int
    kept: int  #: as old, but a page shows them
    events: int  #: that belong to no run


def sweep(instance: dg.DagsterInstance, before: datetime, most: int = MOST) -> Swept:
    """Delete what ended before, but for what a page shows last; of runs so many at most, the oldest first."""
    shown, backfills = shown_runs(instance), _open_backfills(instance)
    deleted = kept = 0
    for run_id, backfill in _finished(instance, before):
        if run_id in shown or backfill in backfills:
            kept += 1
            continue
        if deleted == most:
            break
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
        deleted += 1
    events = _delete_events_without_run(instance, before)
    for state in instance.all_instigator_state() if instance.schedule_storage else ():
        instance.purge_ticks(state.instigator_origin_id, state.selector_id, before.timestamp())
    return Swept(deleted, kept, events)


def shown_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold what some page shows as the latest."""
    events, checks, runs = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c, RunsTable.c
    with _events(instance) as connection:
        found = {
            run_id
            for statement in (
                sa.select(events.run_id).where(events.id.in_(_latest_events())),
                sa.select(checks.run_id).where(checks.id.in_(_latest_checks())),
                sa.select(AssetKeyTable.c.last_run_id).where(AssetKeyTable.c.last_run_id.is_not(None)),
            )
            for (run_id,) in connection.execute(statement)
        }
    latest = sa.select(sa.func.max(runs.id)).group_by(runs.pipeline_name, runs.status)
    with _runs(instance) as connection:
        found |= {
            run_id for (run_id,) in connection.execute(sa.select(runs.run_id).where(runs.id.in_(latest)))
        }
    return found - {_RUNLESS}


def _latest_events() -> Any:
    """The newest event of each kind of each asset and partition."""
    events = SqlEventLogStorageTable.c
    return (
        sa.select(sa.func.max(events.id))
        .where(events.asset_key.is_not(None))
        .group_by(events.asset_key, events.dagster_event_type, events.partition)
    )


def _latest_checks() -> Any:
    """The newest outcome of each check, and of each of its outcomes: one that is under way hides none."""
    checks = AssetCheckExecutionsTable.c
    return sa.select(sa.func.max(checks.id)).group_by(
        checks.asset_key, checks.check_name, checks.partition, checks.execution_status
    )


def _finished(instance: dg.DagsterInstance, before: datetime) -> Iterator[tuple[str, str | None]]:
    """The id, and the backfill, of each run that ended before, the oldest first."""
    runs, last = RunsTable.c, 0
    while True:
        with _runs(instance) as connection:
            page = connection.execute(
                sa.select(runs.id, runs.run_id, runs.backfill_id)
                .where(
                    runs.id > last,
                    runs.status.in_([status.value for status in FINISHED_STATUSES]),
                    runs.update_timestamp < _naive(before),
                )
                .order_by(runs.id)
                .limit(_PAGE)
            ).fetchall()
        if not page:
            return
        yield from ((run_id, backfill) for _, run_id, backfill in page)
        last = page[-1][0]


def _open_backfills(instance: dg.DagsterInstance) -> set[str]:
    found = instance.get_backfills(filters=BulkActionsFilter(statuses=_OPEN_BACKFILLS))
    return {backfill.backfill_id for backfill in found}


def _delete_events_without_run(instance: dg.DagsterInstance, before: datetime) -> int:
    """Events that belong to no run, such as what the watch writes, and rows of checks whose run is gone."""
    events, checks, tagged = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c, AssetEventTagsTable.c
    with _runs(instance) as connection:
        there = {run_id for (run_id,) in connection.execute(sa.select(RunsTable.c.run_id))}
    with _events(instance) as connection:
        shown = sa.select(checks.evaluation_event_storage_id).where(checks.id.in_(_latest_checks()))
        kept = {number for (number,) in connection.execute(shown)}
        kept |= {number for (number,) in connection.execute(_latest_events())}
        runless = sa.select(events.id).where(events.run_id == _RUNLESS, events.timestamp < _naive(before))
        old = [number for (number,) in connection.execute(runless) if number not in kept]
        for some in _pages(old):
            connection.execute(sa.delete(AssetEventTagsTable).where(tagged.event_id.in_(some)))
            connection.execute(sa.delete(SqlEventLogStorageTable).where(events.id.in_(some)))
        rows = connection.execute(
            sa.select(checks.id, checks.run_id).where(
                checks.create_timestamp < _naive(before), checks.id.not_in(_latest_checks())
            )
        )
        for some in _pages([number for number, run_id in rows if run_id not in there]):
            connection.execute(sa.delete(AssetCheckExecutionsTable).where(checks.id.in_(some)))
    return len(old)


def _pages(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + _PAGE] for start in range(0, len(numbers), _PAGE))


def _naive(at: datetime) -> datetime:
    """As Dagster's tables have it: UTC without saying so."""
    return at.astimezone(UTC).replace(tzinfo=None)


@contextmanager
def _runs(instance: dg.DagsterInstance) -> Iterator[sa.engine.Connection]:
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    with storage.connect() as connection:
        yield connection


@contextmanager
def _events(instance: dg.DagsterInstance) -> Iterator[sa.engine.Connection]:
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    with storage.index_connection() as connection:
        yield connection


@dg.op(name="sweep")
def sweep_op(context: dg.OpExecutionContext, store: EventStore) -> None:
    """Delete old runs and ticks."""
    with store.connect() as connection:
        keep = policy(connection).keep_runs
        swept = sweep(context.instance, datetime.now(UTC) - keep)
        size = dagster_bytes(connection)
    context.log.info(
        f"{counted(swept.runs, 'run')} older than {lasting(keep)} deleted, {swept.kept:,} kept "
        "because a page shows them, "
        f"{counted(swept.events, 'event')} without a run deleted"
    )
    context.add_output_metadata(
        {"runs": swept.runs, "kept": swept.kept, "events": swept.events, "dagster_bytes": size or 0}
    )


@dg.job(tags={**tags(6 * 3600), **ON_HOST}, executor_def=dg.in_process_executor)
def retention() -> None:
    """Delete Dagster's runs, event logs and ticks older than the setting `keep_runs`, but what pages show."""
    sweep_op()


retention_every_night = dg.ScheduleDefinition(
    name="retention_every_night",
    job=retention,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Deletes Dagster's runs, event logs and ticks older than the setting `keep_runs`.",
)

JOBS = [retention]
SCHEDULES = [retention_every_night]
