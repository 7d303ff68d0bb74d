"""What is late, switched off or unproved turns the page by itself, without a run of the table concerned."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
)
from psycopg.types.json import Jsonb

from eventstore.engine.lateness import schedule_of
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.status import read_model_status
from eventstore.face.duty import judge
from eventstore.log.settings import change_setting
from eventstore.orders.domain import DOMAIN
from pipelines import watch as watching
from pipelines.resources import EventStore

Connection = psycopg.Connection[Any]
Run = Callable[..., dg.ExecuteInProcessResult]
PAID = Jsonb([{"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}])


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture(autouse=True)
def long_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GRACE_S", 0)


@pytest.fixture
def tick(database_url: str, instance: dg.DagsterInstance) -> Callable[[], str]:
    """A look of the watch; returns what it says."""

    def look() -> str:
        context = dg.build_sensor_context(
            instance=instance, resources={"store": EventStore(url=database_url)}
        )
        [skipped] = list(watching.watch(context))  # type: ignore[arg-type]
        return str(skipped.skip_message)

    return look


@pytest.fixture
def shown(instance: dg.DagsterInstance) -> Callable[[str, str], dg.AssetCheckEvaluation | None]:
    """What the page of an asset says of a check."""

    def find(asset: str, name: str) -> dg.AssetCheckEvaluation | None:
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        if not records:
            return None
        assert records[0].event is not None
        assert records[0].event.dagster_event is not None
        return records[0].event.dagster_event.asset_check_evaluation_data

    return find


@pytest.fixture
def switch(instance: dg.DagsterInstance) -> Callable[[str, InstigatorStatus], None]:
    """Switches a schedule or sensor, as the page Automation does."""

    def to(name: str, status: InstigatorStatus) -> None:
        cron = next((each.cron_schedule for each in watching.SCHEDULES if each.name == name), None)
        kind = InstigatorType.SCHEDULE if cron else InstigatorType.SENSOR
        data = ScheduleInstigatorData(cron) if cron else SensorInstigatorData()
        location = RegisteredCodeLocationOrigin("pipelines.definitions")
        repository = RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME)
        state = InstigatorState(RemoteInstigatorOrigin(repository, name), kind, status, data)
        if instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            instance.update_instigator_state(state)
        else:
            instance.add_instigator_state(state)

    return to


def append(connection: Connection, ago: timedelta = timedelta(0)) -> None:
    """An event that was recorded a while ago."""
    connection.execute("SELECT append_events(%s, %s)", (uuid4(), PAID))
    if ago:
        ms = int(ago.total_seconds() * 1000)
        connection.execute("ALTER TABLE order_events DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE order_events SET id = uuidv7_lowest(uuidv7_ms(id) - %s) WHERE id = "
            "(SELECT id FROM order_events ORDER BY id DESC LIMIT 1)",
            (ms,),
        )
        connection.execute("ALTER TABLE order_events ENABLE TRIGGER USER")


def test_a_quiet_log_is_green_for_ever(
    tick: Callable[[], str], shown: Callable[..., Any], run_job: Run, instance: dg.DagsterInstance
) -> None:
    assert "in time" in tick()
    for asset in ("orders", "order_history", "order_snapshots", "customers", "daily_order_metrics"):
        assert shown(asset, "lag").passed, asset
    assert shown("order_events", "automation").passed
    assert shown("log_seals", "proof").passed


def test_a_table_whose_schedule_is_off_turns_amber_then_red_and_green_again_when_it_is_refreshed(
    tick: Callable[[], str],
    shown: Callable[..., Any],
    switch: Callable[[str, InstigatorStatus], None],
    run_job: Run,
    instance: dg.DagsterInstance,
    connection: Connection,
) -> None:
    append(connection, timedelta(hours=5))
    assert run_job("refresh_orders", instance=instance).success
    tick()
    assert shown("orders", "lag").passed
    switch("orders_every_minute", InstigatorStatus.STOPPED)
    append(connection, timedelta(minutes=4))
    tick()
    late = shown("orders", "lag")
    assert (late.passed, late.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "1 event behind, the oldest for 4 min" in late.description
    assert "Switched off: orders_every_minute" in late.description
    off = shown("order_events", "automation")
    assert (off.passed, off.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "orders_every_minute" in off.description

    append(connection, timedelta(hours=1))
    tick()
    assert shown("orders", "lag").severity == dg.AssetCheckSeverity.ERROR

    switch("orders_every_minute", InstigatorStatus.RUNNING)
    assert run_job("refresh_orders", instance=instance).success
    tick()
    assert shown("orders", "lag").passed
    assert shown("order_events", "automation").passed


def test_a_table_is_given_the_time_until_its_next_run(
    tick: Callable[[], str], shown: Callable[..., Any], connection: Connection
) -> None:
    append(connection, timedelta(minutes=5))
    tick()
    assert not shown("orders", "lag").passed  # every minute, and max_lag on top
    assert shown("order_history", "lag").passed  # every five minutes
    assert shown("customers", "lag").passed  # max_derived_lag
    assert shown("order_snapshots", "lag").passed  # max_snapshot_lag


@pytest.mark.parametrize(
    ("setting", "asset"),
    [("max_lag", "orders"), ("max_derived_lag", "customers"), ("max_snapshot_lag", "order_snapshots")],
)
def test_how_late_is_too_late_is_a_setting(
    tick: Callable[[], str], shown: Callable[..., Any], connection: Connection, setting: str, asset: str
) -> None:
    append(connection, timedelta(minutes=25))
    change_setting(connection, setting, "1 hour")
    tick()
    assert shown(asset, "lag").passed
    change_setting(connection, setting, "10 minutes")
    tick()
    assert not shown(asset, "lag").passed


def test_a_table_whose_runs_ceased_is_late_although_nothing_happens(
    run_job: Run, instance: dg.DagsterInstance, connection: Connection
) -> None:
    assert run_job("refresh_orders", instance=instance).success
    later = datetime.now(UTC) + timedelta(hours=2)
    [found] = watching.lags(connection, watching.automation(instance, later), ["orders"])
    assert not found.passed
    assert "the last run that succeeded was 2 h ago" in (found.description or "")
    change_setting(connection, "max_age", "3 hours")
    [found] = watching.lags(connection, watching.automation(instance, later), ["orders"])
    assert found.passed


def test_a_proof_that_is_old_or_was_never_made_is_told(
    run_job: Run, instance: dg.DagsterInstance, connection: Connection, home: Path
) -> None:
    def proof(after: timedelta) -> dg.AssetCheckResult:
        now = datetime.now(UTC) + after
        return watching.proof_result(connection, now)

    append(connection)
    assert run_job("seal_log", instance=instance).success
    assert proof(timedelta(hours=47)).passed
    assert "never proven" in (proof(timedelta(hours=49)).description or "")
    for job in ("refresh_orders", "integrity", "check_history", "verify_seals"):
        assert run_job(job, instance=instance).success
    assert proof(timedelta(hours=47)).passed
    old = proof(timedelta(hours=72))
    assert (old.passed, old.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "he last proof of" in (old.description or "")
    change_setting(connection, "max_proof_age", "4 days")
    assert proof(timedelta(hours=72)).passed


def test_what_has_not_changed_is_written_once_an_hour_and_a_failure_every_five_minutes(
    tick: Callable[[], str], instance: dg.DagsterInstance
) -> None:
    def written(passed: bool, after: timedelta) -> bool:
        found = dg.AssetCheckResult(asset_key=dg.AssetKey("orders"), check_name="lag", passed=passed)
        return watching.write_if_news(instance, found, datetime.now(UTC) + after)

    assert written(True, timedelta(0))
    assert not written(True, timedelta(minutes=59))
    assert written(True, timedelta(minutes=61))
    assert written(False, timedelta(0))
    assert not written(False, timedelta(minutes=4))
    assert written(False, timedelta(minutes=6))
    assert written(True, timedelta(0))


def test_a_start_is_given_time_before_anything_is_called_late(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written(passed: bool) -> bool:
        found = dg.AssetCheckResult(asset_key=dg.AssetKey("orders"), check_name="lag", passed=passed)
        return watching.write_if_news(instance, found, datetime.now(UTC))

    assert written(True)
    monkeypatch.setattr(watching, "GRACE_S", 10**9)
    assert not written(False)
    monkeypatch.setattr(watching, "GRACE_S", 0)
    assert written(False)


def test_each_table_is_refreshed_when_it_is_said_to_be() -> None:
    crons = {watching._job_of(each): each for each in watching.SCHEDULES}
    for name, job in watching.WATCHED.items():
        if name != SNAPSHOTS:
            assert crons[job].cron_schedule == schedule_of(DOMAIN, name), name


@pytest.mark.parametrize("minutes", [1, 5, 25, 700])
def test_the_terminal_and_the_page_judge_alike(
    tick: Callable[[], str],
    shown: Callable[..., Any],
    connection: Connection,
    database_url: str,
    home: Path,
    minutes: int,
) -> None:
    append(connection, timedelta(minutes=minutes))
    tick()
    for verdict in judge(connection, DOMAIN, database_url, home / "landing").verdicts:
        if verdict.subject in watching.WATCHED:
            check = shown(verdict.subject, "lag")
            assert check.passed is (verdict.level == "ok"), verdict
            assert check.passed or (check.severity == dg.AssetCheckSeverity.ERROR) is (
                verdict.level == "fail"
            )


def test_a_look_costs_the_same_however_much_waits(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore.engine.standing.COUNTED", 2)
    for _ in range(3):
        append(connection)
    late = read_model_status(connection, "orders")
    assert (late.lag_events, late.lag_or_more) == (2, True)


def test_the_checks_of_the_watch_say_the_same_when_a_run_evaluates_them(
    run_job: Run, instance: dg.DagsterInstance, connection: Connection
) -> None:
    append(connection)
    assert run_job("refresh_orders", instance=instance).success
    result = run_job("refresh_metrics", instance=instance)
    checks = {
        (each.asset_key.path[-1], each.check_name): each for each in result.get_asset_check_evaluations()
    }
    assert checks["customers", "lag"].passed
    assert checks["daily_order_metrics", "lag"].passed
