"""What is normal is green: Dagster calls nothing unsynced that its schedules bring up to date."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def unsynced(defs: dg.Definitions, instance: dg.DagsterInstance) -> Callable[..., dict[str, list[str]]]:
    """The assets that the page shows as such, with the reasons that it gives."""

    def look(*assets: str) -> dict[str, list[str]]:
        graph = defs.get_repository_def().asset_graph
        resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
        keys = [dg.AssetKey(asset) for asset in assets]
        return {
            key.to_user_string(): [cause.reason for cause in resolver.get_stale_root_causes(key)]
            for key in keys
            if resolver.get_status(key) == StaleStatus.STALE
        }

    return look


def test_new_events_leave_every_table_green_that_its_schedule_brings_up_to_date(
    unsynced: Callable[..., dict[str, list[str]]],
    run_job: Run,
    instance: dg.DagsterInstance,
    drop: Callable[..., Path],
    event_line: Callable[..., str],
) -> None:
    tables = ("order_events", "orders", "order_history", "customers", "daily_order_metrics", "log_seals")
    jobs = ("ingest_and_refresh", "refresh_order_history", "refresh_metrics", "seal_log")
    drop("a.ndjson", event_line("OrderCreated"))
    for job in jobs:
        assert run_job(job, instance=instance).success
    assert unsynced(*tables) == {}
    for number, job in enumerate([*jobs, "refresh_orders"]):
        drop(f"{number}.ndjson", event_line("OrderCreated"))
        run_job("ingest", instance=instance)
        assert run_job(job, instance=instance).success
        assert unsynced(*tables) == {}, job
