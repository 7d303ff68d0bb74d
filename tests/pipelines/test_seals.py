"""`log_seals` in Dagster: sealed by the clock, verified by night; what is wrong is named on the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from pipelines.resources import EventStore
from pipelines.seals import log_seals_every_five_minutes
from tests.buckets import BUCKETS
from tests.seals.events import append_orders
from tests.seals.tampering import altering

RunJob = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture(autouse=True)
def own_home(home: Path) -> Path:
    return home


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    [found] = [one for one in result.get_asset_check_evaluations() if one.check_name == name]
    return found


def test_a_run_seals_the_log_and_says_so(
    connection: psycopg.Connection[Any],
    run_job: RunJob,
    metadata_of: Callable[..., dict[str, Any]],
    home: Path,
) -> None:
    append_orders(connection, 5, 4)
    result = run_job("seal_log")
    metadata = metadata_of(result, "log_seals")
    assert (metadata["events"], metadata["size"], metadata["checkpoint"]) == (20, 20, 1)
    assert len(metadata["roots"].records) == BUCKETS
    assert sum(record.data["size"] for record in metadata["roots"].records) == 20
    assert metadata["age_seconds"] < 600
    assert check(result, "sealed_in_time").passed
    assert not [one for one in result.get_asset_check_evaluations() if one.check_name == "intact"]
    secret = (home / "seal.key").read_text().strip()
    assert secret[-20:] not in str(metadata)
    assert metadata_of(run_job("seal_log"), "log_seals")["events"] == 0


def test_the_schedule_runs_where_something_waits_for_its_seal(
    connection: psycopg.Connection[Any], database_url: str, run_job: RunJob, tmp_path: Path
) -> None:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        def tick() -> Any:
            resources = {"store": EventStore(url=database_url)}
            return log_seals_every_five_minutes(
                dg.build_schedule_context(instance=instance, resources=resources)
            )

        run_job("seal_log", instance=instance)
        assert isinstance(tick(), dg.SkipReason)
        append_orders(connection, 1)
        assert isinstance(tick(), dg.RunRequest)
        run_job("seal_log", instance=instance)
        assert isinstance(tick(), dg.SkipReason)


def test_the_night_verifies_the_log_and_names_what_is_wrong(
    connection: psycopg.Connection[Any], run_job: RunJob
) -> None:
    append_orders(connection, 5, 4)
    run_job("seal_log")
    good = check(run_job("verify_seals"), "intact")
    assert good.passed
    assert "All 20 sealed events" in str(good.description)
    (victim, order_id) = connection.execute(
        "SELECT id, order_id FROM order_events ORDER BY id OFFSET 7 LIMIT 1"
    ).fetchone() or (None, None)
    with altering(connection):
        connection.execute("UPDATE order_events SET created_at = 1 WHERE id = %s", (victim,))
    for _ in range(2):
        bad = check(run_job("verify_seals"), "intact")
        assert not bad.passed
        assert bad.severity == dg.AssetCheckSeverity.ERROR
        assert str(victim) in str(bad.description)
        assert str(order_id) in str(bad.description)
        assert "docs/seals.md" in str(bad.description)


def test_without_anything_sealed_the_check_warns_only(run_job: RunJob) -> None:
    found = check(run_job("verify_seals"), "intact")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_events_that_wait_for_long_are_warned_of(
    connection: psycopg.Connection[Any], defs: dg.Definitions
) -> None:
    append_orders(connection, 2)
    connection.execute(
        "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN "
        "(floor(date_part('epoch', clock_timestamp()) * 1000) + 7200000)::bigint"
    )
    job = defs.resolve_implicit_global_asset_job_def()
    keys = [dg.AssetCheckKey(dg.AssetKey("log_seals"), "sealed_in_time")]
    subset = job.get_subset(asset_selection=set(), asset_check_selection=set(keys))
    found = check(subset.execute_in_process(), "sealed_in_time")
    assert not found.passed
    assert "2 events are not sealed" in str(found.description)


def test_a_database_that_went_back_fails_the_run_with_what_to_do_and_is_not_tried_again(
    connection: psycopg.Connection[Any], run_job: RunJob
) -> None:
    append_orders(connection, 1)
    run_job("seal_log")
    with altering(connection):
        connection.execute(
            "DELETE FROM seal_checkpoints; UPDATE seal_trees SET tiles = 0, edge = '', leaves = '', ids = ''"
        )
    append_orders(connection, 1)
    result = run_job("seal_log", raise_on_error=False)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "older backup" in str(failure)
