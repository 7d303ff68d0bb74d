"""Looks from outside at what runs keep up to date: a table whose runs stopped cannot say so itself.

The sensor `watch` evaluates the checks named here every half minute, without a run, and writes what changed.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)

from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.status import ProjectionStatus, read_model_status
from eventstore.log.connection import Connection
from eventstore.log.settings import Policy, policy
from eventstore.orders.domain import DOMAIN
from eventstore.seals.share import read_round
from eventstore.server import settings as server_settings
from pipelines import backups, jobs, retention, schedules, seals, sensors
from pipelines.assets import order_events
from pipelines.checks import judge_files
from pipelines.freshness import interval
from pipelines.metadata import report_check
from pipelines.resources import EventStore

#: So much later than it may be, a table is not amber but red.
RED = 5
#: What a check says is written again so often while it fails; while it passes, as a proof of life.
_FAILING_S, _PASSING_S = 300, 3600
#: After a start the first runs are given so long before anything is called late.
GRACE_S = 180
_STARTED = time.monotonic()
_DAY = timedelta(days=1)

_PROJECTIONS = [projection.name for projection in DOMAIN.projections]
_DERIVED = [derived.name for derived in DOMAIN.derived]

#: The read models, each with the job that keeps it up to date.
WATCHED = {
    **{name: jobs.REFRESHES[name].name for name in _PROJECTIONS},
    SNAPSHOTS: jobs.snapshot_day.name,
    **{name: jobs.DERIVED.get(name, jobs.refresh_metrics).name for name in _DERIVED},
}


#: What starts runs by itself. The watch cannot see that it is off itself: the alerts look for that.
SCHEDULES: list[Any] = [
    *schedules.ALL,
    *seals.SCHEDULES,
    backups.backup_every_night,
    *retention.SCHEDULES,
]
SENSORS: list[Any] = [*sensors.ALL]
_ALERTS = "alerts"  # made after the watch, which it looks at


class Automation(NamedTuple):
    """What starts runs by itself, as it is now."""

    off: frozenset[str]  #: names of schedules and sensors that somebody switched off
    silent: frozenset[str]  #: daemons of Dagster that do not answer


def automation(instance: dg.DagsterInstance) -> Automation:
    """How schedules, sensors and daemons stand."""
    daemons = instance.get_daemon_statuses().values()
    wanted = {each.name for each in (*SCHEDULES, *SENSORS)} | {_ALERTS}
    return Automation(
        off=frozenset(wanted & switched_off(instance)),
        silent=frozenset(each.daemon_type for each in daemons if each.last_heartbeat and not each.healthy),
    )


def switched_off(instance: dg.DagsterInstance) -> set[str]:
    """The names of the schedules and sensors that somebody switched off."""
    return {
        state.instigator_name
        for state in (instance.all_instigator_state() if instance.schedule_storage else [])
        if state.status == InstigatorStatus.STOPPED
        and state.origin.repository_origin.repository_name == SINGLETON_REPOSITORY_NAME
    }


def _every(job: str) -> timedelta:
    """How often the schedules of a job come round."""
    found = _DAY
    for schedule in SCHEDULES:
        if _job_of(schedule) == job and isinstance(schedule, dg.ScheduleDefinition):
            found = min(found, interval(str(schedule.cron_schedule)))
    return found


def _job_of(schedule: Any) -> str:
    """One that is made from the partitions of its job is no ScheduleDefinition yet."""
    return str(getattr(schedule, "job_name", None) or schedule.job.name)


def _allowed(name: str, told: Policy, every: timedelta) -> timedelta:
    """For how long events may wait for a table, outside its own runs: until the next one at least."""
    if name == SNAPSHOTS:
        return told.max_snapshot_lag
    return every + (told.max_derived_lag if name in _DERIVED else told.max_lag)


def judge_lag(
    name: str, found: ProjectionStatus, told: Policy, every: timedelta, age: timedelta | None, off: list[str]
) -> dg.AssetCheckResult:
    """The check `lag` of a read model: whether events wait for too long, or the last run is too long ago.

    ``age`` is the time since the last run that succeeded, None where there was none; ``off`` are the
    schedules of the table that are switched off.
    """
    allowed = _allowed(name, told, every)
    oldest = timedelta(seconds=found.lag_seconds)
    longest_age = max(told.max_age, told.max_snapshot_lag if name == SNAPSHOTS else 2 * every)
    late, old = oldest > allowed, age is not None and age > longest_age
    sentences = [
        f"{found.lag_events:,}{' or more' if found.lag_or_more else ''} events wait, "
        f"the oldest for {in_words(oldest)}."
        if found.lag_events
        else "Holds every event of the log."
    ]
    if old and age is not None:
        sentences.append(f"The last run that succeeded was {in_words(age)} ago.")
    if off:
        sentences.append(f"Switched off: {', '.join(off)}. Switch it on again on the page Automation.")
    elif late or old:
        sentences.append("See why the last runs failed, or what keeps them waiting: `eventstore status`.")
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(name),
        check_name="lag",
        passed=not (late or old),
        severity=dg.AssetCheckSeverity.ERROR if oldest > RED * allowed else dg.AssetCheckSeverity.WARN,
        description=" ".join(sentences),
        metadata={
            "lag_events": found.lag_events,
            "lag_seconds": round(found.lag_seconds, 1),
            "allowed_seconds": allowed.total_seconds(),
            "watermark": str(found.watermark),
            "switched_off": off,
        },
    )


def lags(
    connection: Connection, instance: dg.DagsterInstance, names: list[str], now: datetime
) -> list[dg.AssetCheckResult]:
    """The check `lag` of these read models."""
    told, state = policy(connection), automation(instance)
    return [
        judge_lag(
            name,
            read_model_status(connection, name),
            told,
            _every(job := WATCHED[name]),
            _age(instance, name, now),
            sorted(each.name for each in SCHEDULES if _job_of(each) == job and each.name in state.off),
        )
        for name in names
    ]


def _age(instance: dg.DagsterInstance, asset: str, now: datetime) -> timedelta | None:
    """The time since an asset was last materialized."""
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    return now - datetime.fromtimestamp(event.timestamp, UTC) if event else None


def judge_automation(state: Automation) -> dg.AssetCheckResult:
    """The check `automation`: what should start runs by itself and does not."""
    off, silent = sorted(state.off), sorted(state.silent)
    sentences = []
    if off:
        sentences.append(
            f"Switched off: {', '.join(off)}. What they start does not happen: switch them on again on the "
            "page Automation."
        )
    if silent:
        sentences.append(f"Dagster's daemon does not answer: {', '.join(silent)}. Start `make up` again.")
    return dg.AssetCheckResult(
        asset_key=order_events.key,
        check_name="automation",
        passed=not sentences,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(sentences) or "Every schedule and sensor is on.",
        metadata={"switched_off": off, "silent_daemons": silent},
    )


def judge_proofs(
    connection: Connection, instance: dg.DagsterInstance, told: Policy, now: datetime
) -> dg.AssetCheckResult:
    """The check `proof`: whether the log and its tables were proved lately.

    Where a proof was never made, its age is that of the first checkpoint: a new store has time.
    """
    first = connection.execute("SELECT min(sealed_at) FROM seal_checkpoints").fetchone()
    begun = first[0] if first else None
    made = {
        "verification of the seals (job verify_seals)": read_round(connection).verified_at,
        "comparison with a replay (job integrity)": _last_success(instance, jobs.integrity.name),
    }
    ages = {what: now - since for what, at in made.items() if (since := at or begun)}
    old = {what: age for what, age in ages.items() if age > told.max_proof_age}
    return dg.AssetCheckResult(
        asset_key=seals.log_seals.key,
        check_name="proof",
        passed=not old,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(
            f"The last {what} is {in_words(age)} old: see whether its schedule is on and why its last run "
            "failed."
            if made[what]
            else f"The {what} was never made: launch the job."
            for what, age in old.items()
        )
        or "The log and its tables were proved lately, or are new.",
        metadata={what: at.isoformat(timespec="seconds") if at else "never" for what, at in made.items()},
    )


def _last_success(instance: dg.DagsterInstance, job: str) -> datetime | None:
    wanted = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    found = instance.get_run_records(wanted, limit=1)
    return datetime.fromtimestamp(found[0].end_time, UTC) if found and found[0].end_time else None


def in_words(duration: timedelta) -> str:
    """``90 s``, ``12 min``, ``5.0 hours``, ``3.0 days``."""
    seconds = duration.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def write_if_news(instance: dg.DagsterInstance, found: dg.AssetCheckResult, now: datetime) -> bool:
    """Write an evaluation without a run where its result differs from what the page shows, or that is old."""
    assert found.asset_key is not None, "named by each judge"
    assert found.check_name is not None
    key = dg.AssetCheckKey(found.asset_key, found.check_name)
    before = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    )
    if before and before[0].event and before[0].event.dagster_event:
        shown = before[0].event.dagster_event.asset_check_evaluation_data
        same = shown.passed == found.passed and (found.passed or shown.severity == found.severity)
        age = now.timestamp() - before[0].event.timestamp
        if same and age < (_PASSING_S if found.passed else _FAILING_S):
            return False
        if not found.passed and shown.passed and time.monotonic() < _STARTED + GRACE_S:
            return False
    report_check(instance, found)
    return True


def look(connection: Connection, instance: dg.DagsterInstance, now: datetime) -> list[dg.AssetCheckResult]:
    """All that the watch judges, as it is now; writes nothing."""
    return [
        *lags(connection, instance, list(WATCHED), now),
        judge_automation(automation(instance)),
        judge_proofs(connection, instance, policy(connection), now),
        *([judge_files(connection)] if server_settings.ray_address() else []),
    ]


@dg.sensor(
    name="watch",
    minimum_interval_seconds=25,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks whether tables are late, schedules and sensors are off, proofs are old, and turns the "
    "checks `lag`, `automation` and `proof`. Starts no run.",
)
def watch(context: dg.SensorEvaluationContext, store: EventStore) -> Iterator[dg.SkipReason]:
    now = datetime.now(UTC)
    with store.connect() as connection:
        found = look(connection, context.instance, now)
    written = [each for each in found if write_if_news(context.instance, each, now)]
    bad = [f"{name_of(each)}: {each.description}" for each in found if not each.passed]
    yield dg.SkipReason(" ".join(bad) or f"All is in time; {len(written)} checks written.")


def name_of(result: dg.AssetCheckResult) -> str:
    return f"{result.asset_key.to_user_string() if result.asset_key else ''}.{result.check_name}"


def _lag_check(name: str) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=name)
    def lag(context: dg.AssetCheckExecutionContext, store: EventStore) -> dg.AssetCheckResult:
        """Warns when events have been waiting for the table for too long, or its last run is too long ago:
        settings `max_derived_lag`, `max_snapshot_lag` and `max_age`. Also looked at every half minute without
        a run.
        """
        with store.connect() as connection:
            return lags(connection, context.instance, [name], datetime.now(UTC))[0]

    return lag


@dg.asset_check(asset=order_events, name="automation")
def automation_check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Warns while a schedule or sensor is switched off, or a daemon of Dagster does not answer."""
    return judge_automation(automation(context.instance))


@dg.asset_check(asset=seals.log_seals, name="proof")
def proof_check(context: dg.AssetCheckExecutionContext, store: EventStore) -> dg.AssetCheckResult:
    """Warns when the last proof of the log, or of its tables, is older than the setting `max_proof_age`."""
    with store.connect() as connection:
        return judge_proofs(connection, context.instance, policy(connection), datetime.now(UTC))


CHECKS = [*(_lag_check(name) for name in (SNAPSHOTS, *_DERIVED)), automation_check, proof_check]
ALL = [watch]
