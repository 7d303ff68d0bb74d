"""Old runs go, and with them nothing that a page shows as the latest."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
import sqlalchemy as sa
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.tags import BACKFILL_ID_TAG

from eventstore.log.settings import change_setting
from eventstore.log.sizes import dagster_bytes
from eventstore.server.urls import with_database
from pipelines.retention import sweep

PARTS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset
def plain() -> None:
    pass


@dg.asset(partitions_def=PARTS)
def parted() -> None:
    pass


@dg.asset_check(asset=plain)
def fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.op
def prints() -> None:
    print("printed")


@dg.job
def other() -> None:
    prints()


DEFS = dg.Definitions(assets=[plain, parted], asset_checks=[fine], jobs=[other])


@pytest.fixture(params=["sqlite", "postgres"])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[..., str]
) -> Iterator[dg.DagsterInstance]:
    """Dagster on both of its storages; ours is PostgreSQL."""
    overrides: dict[str, Any] = {}
    if request.param == "postgres":
        url = new_database(migrated=False).replace("postgresql://", "postgresql+psycopg2://")
        overrides["storage"] = {"postgres": {"postgres_url": url}}
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides=overrides) as instance:
        yield instance


@pytest.fixture
def run(instance: dg.DagsterInstance) -> Callable[..., str]:
    """Materializes an asset or runs the other job; returns the id of the run."""

    def execute(name: str, partition: str | None = None, checks: bool = True) -> str:
        if name == "other":
            return other.execute_in_process(instance=instance).run_id
        assets = dg.AssetSelection.assets(name)
        selection = assets if checks else assets.without_checks()
        job = dg.define_asset_job("some", selection)
        defs = dg.Definitions(assets=[plain, parted], asset_checks=[fine], jobs=[job])
        resolved = defs.resolve_job_def("some")
        return resolved.execute_in_process(instance=instance, partition_key=partition).run_id

    return execute


def left(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.get_run_ids())


def later(days: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_the_latest_run_of_each_asset_partition_check_and_job_stays(
    instance: dg.DagsterInstance, run: Callable[..., str]
) -> None:
    gone = [run("plain"), run("parted", "a")]
    check = run("plain")
    stays = {check, run("plain", checks=False), run("parted", "a"), run("parted", "b")}
    gone.append(run("other"))
    stays.add(run("other"))
    swept = sweep(instance, later())
    assert left(instance) == stays
    assert (swept.runs, swept.kept) == (len(gone), len(stays))
    for run_id in gone:
        assert not instance.all_logs(run_id)
    assert instance.get_latest_materialization_event(plain.key) is not None
    assert instance.get_materialized_partitions(parted.key) == {"a", "b"}
    [record] = instance.event_log_storage.get_asset_check_execution_history(fine.check_key, limit=9)
    assert record.run_id == check
    assert sweep(instance, later()).runs == 0


def test_what_is_young_or_not_finished_stays(instance: dg.DagsterInstance, run: Callable[..., str]) -> None:
    young = {run("other") for _ in range(3)}
    assert sweep(instance, later(-1)).runs == 0
    assert left(instance) == young
    statuses = [status for status in dg.DagsterRunStatus if status not in _FINISHED]
    # Two of each: the latest would stay for being that.
    open_runs = {
        (status, n): instance.create_run_for_job(other).run_id for status in statuses for n in (1, 2)
    }
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)
    with storage.connect() as connection:
        for (status, _), run_id in open_runs.items():
            row = RunsTable.c.run_id == run_id
            connection.execute(sa.update(RunsTable).where(row).values(status=status.value))
    sweep(instance, later())
    assert set(open_runs.values()) <= left(instance)


_FINISHED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


def test_the_runs_of_a_backfill_stay_until_it_is_finished(instance: dg.DagsterInstance) -> None:
    def backfill(name: str, status: BulkActionStatus) -> set[str]:
        instance.add_backfill(
            PartitionBackfill(
                backfill_id=name,
                status=status,
                from_failure=False,
                tags={},
                backfill_timestamp=0.0,
                asset_selection=[parted.key],
                serialized_asset_backfill_data="{}",
            )
        )
        return {
            instance.create_run_for_job(
                other, status=dg.DagsterRunStatus.SUCCESS, tags={BACKFILL_ID_TAG: name}
            ).run_id
            for _ in range(2)
        }

    under_way = backfill("under_way", BulkActionStatus.REQUESTED)
    over = backfill("over", BulkActionStatus.COMPLETED_SUCCESS)
    newest = instance.create_run_for_job(other, status=dg.DagsterRunStatus.SUCCESS).run_id
    sweep(instance, later())
    assert left(instance) == under_way | {newest}
    assert not over & left(instance)


def test_what_is_written_without_a_run_goes_too_but_for_the_latest(instance: dg.DagsterInstance) -> None:
    for passed in (True, False, True):
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(asset_key=plain.key, check_name="fine", passed=passed)
        )
        instance.report_runless_asset_event(dg.AssetMaterialization(plain.key))
    assert sweep(instance, later(-1)).events == 0
    assert sweep(instance, later()).events > 0
    history = instance.event_log_storage.get_asset_check_execution_history(fine.check_key, limit=9)
    assert [str(record.status.value) for record in history] == ["SUCCEEDED", "FAILED"]
    assert len(instance.fetch_materializations(plain.key, limit=9).records) == 1
    assert sweep(instance, later()).events == 0


def test_a_night_deletes_so_much_at_most_and_the_next_goes_on(
    instance: dg.DagsterInstance, run: Callable[..., str]
) -> None:
    runs = [run("other") for _ in range(4)]
    assert sweep(instance, later(), most=2).runs == 2
    assert left(instance) == set(runs[2:])
    assert sweep(instance, later(), most=2).runs == 1
    assert left(instance) == {runs[-1]}


def test_the_job_keeps_as_long_as_the_setting_says(
    run_job: Callable[..., dg.ExecuteInProcessResult],
    connection: psycopg.Connection[Any],
    instance: dg.DagsterInstance,
    run: Callable[..., str],
) -> None:
    runs = [run("other") for _ in range(2)]
    assert run_job("retention", instance=instance).success
    assert set(runs) <= left(instance)
    connection.execute("ALTER TABLE settings DROP CONSTRAINT keep_runs_is_between_1_day_and_3650_days")
    change_setting(connection, "keep_runs", "0 days")
    assert run_job("retention", instance=instance).success
    assert runs[0] not in left(instance)
    assert runs[1] in left(instance)


def test_the_size_of_dagsters_database_is_known_where_there_is_one(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    assert dagster_bytes(connection) is None
    name = f"{connection.info.dbname}_dagster"
    with psycopg.connect(with_database(database_url, "postgres"), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}"')
    size = dagster_bytes(connection)
    assert size is not None
    assert size > 1_000_000
