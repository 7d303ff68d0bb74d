"""What a person on duty is told, and what is done by itself."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from psycopg.types.json import Jsonb

from pipelines.resources import EventStore
from pipelines.schedules import end_holders_every_minute

Run = Callable[..., dg.ExecuteInProcessResult]
Connection = psycopg.Connection[Any]
PAID = Jsonb([{"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}])


@pytest.fixture
def tick(database_url: str) -> Callable[[], Any]:
    """What the schedule answers now."""
    resources = {"store": EventStore(url=database_url)}
    return lambda: end_holders_every_minute(dg.build_schedule_context(resources=resources))


@pytest.fixture
def impatient(connection: Connection) -> None:
    connection.execute("ALTER TABLE settings DROP CONSTRAINT max_hold_is_between_10_seconds_and_1_day")
    connection.execute("UPDATE settings SET max_hold = '0'")


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    [found] = [one for one in result.get_asset_check_evaluations() if one.check_name == name]
    return found


def last_check(instance: dg.DagsterInstance, name: str) -> dg.AssetCheckEvaluation:
    """The newest evaluation of a check of order_events, wherever it was made."""
    key = dg.AssetCheckKey(dg.AssetKey("order_events"), name)
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.event is not None
    evaluation = record.event.dagster_event
    assert evaluation is not None
    return evaluation.asset_check_evaluation_data


def test_the_schedule_starts_no_run_while_nobody_holds_anything_for_long(
    tick: Callable[[], Any], database_url: str
) -> None:
    with psycopg.connect(database_url) as busy:
        busy.execute("SELECT append_events(%s, %s)", (uuid4(), PAID))
        assert isinstance(tick(), dg.SkipReason)


def test_the_job_ends_who_holds_the_log_for_too_long_and_the_check_passes_again(
    tick: Callable[[], Any], run_job: Run, connection: Connection, database_url: str, impatient: None
) -> None:
    forgotten = psycopg.connect(database_url, application_name="forgotten")
    forgotten.execute("SELECT append_events(%s, %s)", (uuid4(), PAID))
    failed = check(run_job("refresh_orders"), "holders")
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert f"SELECT pg_terminate_backend({forgotten.info.backend_pid})" in (failed.description or "")
    assert "forgotten" in (failed.description or "")

    request = tick()
    assert isinstance(request, dg.RunRequest)
    assert tick().run_key == request.run_key
    with dg.DagsterInstance.ephemeral() as instance:
        assert run_job("end_holders", instance=instance).success
        assert last_check(instance, "holders").passed
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")
    assert isinstance(tick(), dg.SkipReason)
    assert check(run_job("refresh_orders"), "holders").passed


def test_the_clock_check_says_what_is_ahead_and_what_to_do(run_job: Run, connection: Connection) -> None:
    assert check(run_job("refresh_orders"), "clock").passed
    connection.execute("SELECT setval('feed_horizon', clock_ms() + 7200000)")
    found = check(run_job("refresh_orders"), "clock")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2.0 hours ahead" in (found.description or "")
    assert "wait: nothing is lost" in (found.description or "")
