"""The job `replay`: one click that launches the backfill of all buckets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from eventstore.engine.change import same_rules
from eventstore.orders.domain import DOMAIN
from tests.buckets import BUCKETS

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


def test_it_asks_for_every_bucket_of_all_that_folds_by_the_same_rules(
    run_job: Run, instance: dg.DagsterInstance
) -> None:
    assert run_job("replay", instance=instance).success
    [backfill] = instance.get_backfills()
    names = {projection.name for projection in same_rules(DOMAIN, DOMAIN.states)}
    assert {key.to_user_string() for key in backfill.asset_selection or ()} == names | {
        f"{name}_replay" for name in names
    }
    assert backfill.asset_backfill_data is not None
    subset = backfill.asset_backfill_data.target_subset
    for name in names:
        keys = subset.get_partitions_subset(dg.AssetKey(f"{name}_replay")).get_partition_keys()
        assert len(set(keys)) == BUCKETS


def test_a_second_one_is_refused_while_the_first_is_under_way(
    run_job: Run, instance: dg.DagsterInstance
) -> None:
    assert run_job("replay", instance=instance).success
    [first] = instance.get_backfills()
    refused = run_job("replay", instance=instance, raise_on_error=False)
    [event] = [event for event in refused.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert f"under way already, see /runs/b/{first.backfill_id}" in str(failure.description)
    instance.update_backfill(first.with_status(BulkActionStatus.CANCELED))  # type: ignore[no-untyped-call]
    assert run_job("replay", instance=instance).success
