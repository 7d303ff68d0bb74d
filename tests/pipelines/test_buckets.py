"""Dagster's partitions follow the setting; a run that meets a log of another number says what to write."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from pipelines import partitions
from tests.buckets import BUCKETS, KEYS
from tests.shipped import upgrade

Run = Callable[..., dg.ExecuteInProcessResult]
LOADED = (
    "from pipelines.definitions import build_defs\n"
    "keys = build_defs().resolve_assets_def('orders_replay').partitions_def.get_partition_keys()\n"
    "print(keys[0], keys[-1], len(keys))"
)


@pytest.mark.parametrize(("number", "loaded"), [("1", "00 00 1"), ("64", "00 63 64"), ("256", "000 255 256")])
def test_the_partitions_follow_the_setting_without_a_database(
    tmp_path: Path, number: str, loaded: str
) -> None:
    environment = os.environ | {
        "EVENTSTORE_BUCKETS": number,
        "EVENTSTORE_HOME": str(tmp_path),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
    }
    ran = subprocess.run(
        [sys.executable, "-c", LOADED], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == loaded


@pytest.fixture
def other(database_url: str) -> int:
    """The log has another number than the partitions."""
    number = 2 if BUCKETS != 2 else 4
    upgrade(database_url, buckets=number)
    return number


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    [event] = [event for event in result.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    return str(failure.description)


def test_a_run_of_a_replay_says_what_to_write(materialize: Run, other: int) -> None:
    said = failure_of(materialize("orders_replay", partition_key=KEYS[0], raise_on_error=False))
    assert said.startswith(f"the log has {other} buckets, and Dagster's partitions were made for {BUCKETS}: ")
    assert f"buckets = {other} into" in said or f"EVENTSTORE_BUCKETS={other}" in said
    assert "\n" not in said


def test_so_does_the_job_that_launches_all(run_job: Run, other: int) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        said = failure_of(run_job("replay", instance=instance, raise_on_error=False))
        assert f"the log has {other} buckets" in said
        assert instance.get_backfills() == []


def test_what_does_not_work_by_partitions_goes_on(run_job: Run, materialize: Run, other: int) -> None:
    assert other != partitions.BUCKETS
    assert materialize("orders").success
    assert run_job("integrity_by_replay").success
