"""What Dagster is shown: names, descriptions, limits; and that showing it needs no database."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from eventstore.orders.domain import ORDERS
from pipelines.definitions import build_defs
from pipelines.resources import EventStore
from tests.buckets import BUCKETS, KEYS


@pytest.fixture(scope="module")
def code_location() -> dg.Definitions:
    return build_defs()


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_the_workspace_is_valid_from_any_folder_without_a_database(
    repository: Path, tmp_path: Path, base_environment: dict[str, str]
) -> None:
    nowhere = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere",
        "EVENTSTORE_HOME": str(tmp_path / "home"),
    }
    validated = subprocess.run(
        [
            sys.executable,
            "-m",
            "dagster",
            "definitions",
            "validate",
            "-w",
            str(repository / "workspace.yaml"),
        ],
        cwd=tmp_path,
        env=base_environment | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert validated.returncode == 0, validated.stderr
    assert "All code locations passed validation" in validated.stdout + validated.stderr
    assert not (tmp_path / "home").exists()


def test_the_workspace_names_no_folder(repository: Path) -> None:
    [entry] = yaml.safe_load((repository / "workspace.yaml").read_text())["load_from"]
    assert entry == {"python_module": "pipelines.definitions"}


def test_the_log_the_replay_and_orders_depend_on_one_another_as_designed(
    code_location: dg.Definitions,
) -> None:
    dependencies = {
        name: {dep.asset_key.to_user_string() for dep in spec.deps}
        for name, spec in specs(code_location).items()
    }
    assert dependencies["order_events"] == set()
    assert dependencies["orders_replay"] == {"order_events"}
    assert dependencies["orders"] == {"order_events", "orders_replay"}


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_lives(code_location: dg.Definitions) -> None:
    for spec in specs(code_location).values():
        assert len(spec.description or "") > 80, spec.key
        assert spec.owners, spec.key
        assert "postgres" in spec.kinds, spec.key


def test_a_replay_is_a_backfill_of_the_buckets_of_which_a_run_takes_a_quarter(
    code_location: dg.Definitions,
) -> None:
    replay = code_location.resolve_assets_def("orders_replay")
    assert replay.partitions_def is not None
    assert replay.partitions_def.get_partition_keys() == KEYS
    assert replay.backfill_policy == dg.BackfillPolicy.multi_run(max(1, BUCKETS // 4))


def test_materializing_all_of_the_group_orders_is_the_replay_of_all_by_its_rules_and_the_promotion(
    code_location: dg.Definitions,
) -> None:
    groups = {name: spec.group_name for name, spec in specs(code_location).items()}
    assert {name for name, group in groups.items() if group == "orders"} == {
        "orders",
        "orders_replay",
        "order_history",
        "order_history_replay",
    }


def test_the_code_version_is_the_version_of_the_rules(code_location: dg.Definitions) -> None:
    assets = specs(code_location)
    assert assets["orders"].code_version == assets["orders_replay"].code_version == ORDERS.fold_version


def test_every_job_has_a_maximum_runtime_and_retries_and_starts_no_process_per_step(
    code_location: dg.Definitions,
) -> None:
    jobs = {job.name: job for job in code_location.resolve_all_job_defs() if job.name != "__ASSET_JOB"}
    assert {"ingest", "refresh_orders", "ingest_and_refresh"} <= set(jobs)
    for job in jobs.values():
        assert int(job.tags["dagster/max_runtime"]) > 0, job.name
        assert int(job.tags["dagster/max_retries"]) > 0, job.name
        assert job.executor_def is dg.in_process_executor, job.name
        assert job.description, job.name


def test_ingestion_replay_and_refresh_wait_in_pools_of_their_own(code_location: dg.Definitions) -> None:
    pools = {
        name: code_location.resolve_assets_def(name).op.pool
        for name in ("order_events", "orders_replay", "orders")
    }
    assert len(set(pools.values())) == 3
    assert None not in pools.values()


def test_schedules_and_the_sensor_are_on_by_default(code_location: dg.Definitions) -> None:
    repository = code_location.get_repository_def()
    on = {dg.DefaultScheduleStatus.RUNNING, dg.DefaultSensorStatus.RUNNING}
    automations: list[Any] = [*repository.schedule_defs, *repository.sensor_defs]
    assert {"orders_every_minute", "landing_files"} <= {automation.name for automation in automations}
    assert all(automation.default_status in on for automation in automations)


def test_every_schedule_sensor_and_check_says_what_it_is_for(code_location: dg.Definitions) -> None:
    repository = code_location.get_repository_def()
    checks = [spec for check in code_location.asset_checks or [] for spec in check.check_specs]
    described: list[Any] = [*repository.schedule_defs, *repository.sensor_defs, *checks]
    for named in described:
        assert len(named.description or "") > 25, named.name


def test_orders_are_refreshed_every_minute(code_location: dg.Definitions) -> None:
    schedule = code_location.resolve_schedule_def("orders_every_minute")
    assert (schedule.cron_schedule, schedule.job_name) == ("* * * * *", "refresh_orders")


def test_resources_can_be_replaced() -> None:
    store = EventStore(url="postgresql://elsewhere/db")
    assert build_defs({"store": store}).resources == {"store": store}


def test_no_resource_shows_a_url_by_default(code_location: dg.Definitions) -> None:
    assert code_location.resources == {"store": EventStore(url=None)}
