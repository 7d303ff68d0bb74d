"""Looks from outside at what runs keep up to date: a table whose runs stopped cannot say so itself.

The sensor `watch` evaluates the checks named here every half minute, without a run, and writes what changed.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.scheduler.instigation import InstigatorStatus
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)

from eventstore.engine.lateness import allowed_lag, judge_lag
from eventstore.engine.proofs import proofs_of
from eventstore.engine.prover import proven
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.status import read_model_status
from eventstore.face.automation import Automation, judge_automation
from eventstore.face.guarding import judge_proofs
from eventstore.kernel.moments import moment
from eventstore.kernel.verdicts import worst
from eventstore.log.connection import Connection
from eventstore.log.settings import Policy, policy
from eventstore.orders.domain import DOMAIN
from eventstore.seals.status import seal_status
from eventstore.server import settings as server_settings
from pipelines import backups, jobs, retention, schedules, seals, sensors
from pipelines.assets import order_events
from pipelines.checks import judge_files
from pipelines.metadata import SEVERITY, in_words, proofs_table, report_check
from pipelines.resources import EventStore
from pipelines.runbook import asset_check

#: What a check says is written again so often while it fails; while it passes, as a proof of life.
_FAILING_S, _PASSING_S = 300, 3600
#: After a start the first runs are given so long before anything is called late.
GRACE_S = 180
_STARTED = time.monotonic()

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


def automation(instance: dg.DagsterInstance, now: datetime) -> Automation:
    """How schedules, sensors, daemons and the last runs of tables stand."""
    wanted = {each.name for each in (*SCHEDULES, *SENSORS)} | {_ALERTS}
    beats = instance.get_daemon_heartbeats()
    made = {name: instance.get_latest_materialization_event(dg.AssetKey(name)) for name in WATCHED}
    return Automation(
        off=frozenset(wanted & switched_off(instance)),
        silent_s={name: now.timestamp() - beat.timestamp for name, beat in beats.items()},
        ages={
            name: now - datetime.fromtimestamp(event.timestamp, UTC) for name, event in made.items() if event
        },
    )


def switched_off(instance: dg.DagsterInstance) -> set[str]:
    """The names of the schedules and sensors that somebody switched off."""
    return {
        state.instigator_name
        for state in (instance.all_instigator_state() if instance.schedule_storage else [])
        if state.status == InstigatorStatus.STOPPED
        and state.origin.repository_origin.repository_name == SINGLETON_REPOSITORY_NAME
    }


def _job_of(schedule: Any) -> str:
    """One that is made from the partitions of its job is no ScheduleDefinition yet."""
    return str(getattr(schedule, "job_name", None) or schedule.job.name)


def lags(connection: Connection, state: Automation, names: list[str]) -> list[dg.AssetCheckResult]:
    """The check `lag` of these read models: whether events wait for too long, or the last run is too long
    ago.
    """
    limits = policy(connection)
    open_appends = [
        f"pid {pid} ({role}, {name}) since {moment(since)}"
        for pid, role, name, since in connection.execute(
            "SELECT pid, role, application_name, open_since FROM horizon_holders() ORDER BY open_since"
        )
    ]
    return [_lag(connection, name, limits, state, open_appends) for name in names]


def _lag(
    connection: Connection, name: str, limits: Policy, state: Automation, open_appends: list[str]
) -> dg.AssetCheckResult:
    found = read_model_status(connection, name)
    verdict = judge_lag(DOMAIN, name, found, limits, age=state.ages.get(name), append_open=bool(open_appends))
    off = sorted(each.name for each in SCHEDULES if _job_of(each) == WATCHED[name] and each.name in state.off)
    also = f" Switched off: {', '.join(off)}. Switch it on again on the page Automation." if off else ""
    return dg.AssetCheckResult(
        asset_key=dg.AssetKey(name),
        check_name="lag",
        passed=verdict.level == "ok",
        severity=SEVERITY[verdict.level],
        description=in_words([verdict]) + also,
        metadata={
            "lag_events": found.lag_events,
            "lag_seconds": round(found.lag_seconds, 1),
            "allowed_seconds": allowed_lag(DOMAIN, name, limits).total_seconds(),
            "watermark": str(found.watermark),
            "open_appends": open_appends,
            "switched_off": off,
        },
    )


def automation_result(state: Automation) -> dg.AssetCheckResult:
    """The check `automation`: what should start runs by itself and does not."""
    found = judge_automation(state)
    return dg.AssetCheckResult(
        asset_key=order_events.key,
        check_name="automation",
        passed=worst(found) == "ok",
        severity=SEVERITY[worst(found)],
        description=in_words(found),
        metadata={"switched_off": sorted(state.off)},
    )


def proof_result(connection: Connection, now: datetime) -> dg.AssetCheckResult:
    """The check `proof`: whether the log and its tables were proved lately."""
    proofs = {proof.name: proven(connection, proof) for proof in proofs_of(DOMAIN)}
    found = judge_proofs(proofs, seal_status(connection), policy(connection), now)
    return dg.AssetCheckResult(
        asset_key=seals.log_seals.key,
        check_name="proof",
        passed=worst(found) == "ok",
        severity=SEVERITY[worst(found)],
        description=in_words(found),
        metadata={"proofs": proofs_table(list(proofs.values()))},
    )


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
    state = automation(instance, now)
    return [
        *lags(connection, state, list(WATCHED)),
        automation_result(state),
        proof_result(connection, now),
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
    @asset_check(name)
    def lag(context: dg.AssetCheckExecutionContext, store: EventStore) -> dg.AssetCheckResult:
        """Warns when events have been waiting for the table for too long, or its last run is too long ago:
        settings `max_lag`, `max_derived_lag`, `max_snapshot_lag` and `max_age`. Also looked at every half
        minute without a run.
        """
        with store.connect() as connection:
            return lags(connection, automation(context.instance, datetime.now(UTC)), [name])[0]

    return lag


@asset_check(order_events, name="automation")
def automation_check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Warns while a schedule or sensor is switched off, or a daemon of Dagster does not answer."""
    return automation_result(automation(context.instance, datetime.now(UTC)))


@asset_check(seals.log_seals, name="proof")
def proof_check(store: EventStore) -> dg.AssetCheckResult:
    """Warns when the last proof of the log, or of its tables, is older than the setting `max_proof_age`."""
    with store.connect() as connection:
        return proof_result(connection, datetime.now(UTC))


CHECKS = [*(_lag_check(name) for name in WATCHED), automation_check, proof_check]
ALL = [watch]
