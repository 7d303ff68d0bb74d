"""A change of rules in Dagster: the replays of all tables, one promotion, every check, and what follows."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from eventstore.engine.promote import set_promotion_policy
from eventstore.log.append import append_json
from eventstore.orders.domain import DOMAIN, HISTORY, ORDERS
from pipelines import schedules
from pipelines.resources import EventStore
from tests.buckets import BUCKETS
from tests.shipped import (
    refresh,
    refresh_customers,
    refresh_daily_metrics,
    refresh_history,
    refresh_stale,
    replay_bucket,
)

Connection = psycopg.Connection[Any]
Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def older(connection: Connection) -> None:
    """Tables that the release before has folded: by rules that this one has not any more."""
    append_json(connection, uuid4(), [{"type": "OrderShipped", "data": {}}])
    refresh(connection)
    refresh_history(connection)
    refresh_stale(connection)
    refresh_customers(connection)
    refresh_daily_metrics(connection)
    connection.execute("UPDATE projections SET fold_version = 'before'")


def stand(connection: Connection, *projections: Any, **options: Any) -> None:
    for projection in projections:
        for bucket in range(BUCKETS):
            replay_bucket(connection, bucket, projection, **options)


def rules(connection: Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, fold_version FROM projections").fetchall())


def checks(result: dg.ExecuteInProcessResult, name: str) -> dict[str, dg.AssetCheckEvaluation]:
    """The evaluations of the checks of that name, by asset."""
    return {
        one.asset_key.to_user_string(): one
        for one in result.get_asset_check_evaluations()
        if one.check_name == name
    }


@pytest.fixture
def tick(database_url: str, instance: dg.DagsterInstance) -> Callable[[str], Any]:
    """What a schedule answers now."""

    def answer(name: str) -> Any:
        schedule: Any = next(each for each in schedules.ALL if each.name == name)
        resources = {"store": EventStore(url=database_url)}
        with dg.build_schedule_context(instance, resources=resources) as context:
            return schedule(context)

    return answer


@pytest.mark.usefixtures("older")
def test_while_replays_are_missing_nothing_is_promoted_and_the_check_says_which(
    connection: Connection, run_job: Run
) -> None:
    stand(connection, ORDERS)
    found = checks(run_job("refresh_orders"), "fold_version")["orders"]
    assert set(rules(connection).values()) == {"before"}
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert f"of order_history 0 of {BUCKETS} buckets stand" in (found.description or "")
    assert "materialize all of the group orders" in (found.description or "")


@pytest.mark.usefixtures("older")
def test_when_all_replays_stand_the_next_run_promotes_all_and_the_others_are_told(
    connection: Connection, run_job: Run, tick: Callable[[str], Any], instance: dg.DagsterInstance
) -> None:
    assert run_job("refresh_order_history", instance=instance).success
    assert isinstance(tick("order_history_every_five_minutes"), dg.SkipReason)
    stand(connection, ORDERS, HISTORY)
    assert isinstance(tick("orders_every_minute"), dg.RunRequest)
    result = run_job("refresh_orders", instance=instance)
    now = rules(connection)
    assert now["orders"] == now["order_history"] == ORDERS.fold_version
    assert checks(result, "fold_version")["orders"].passed
    assert isinstance(tick("order_history_every_five_minutes"), dg.RunRequest)
    assert run_job("refresh_order_history", instance=instance).success
    assert isinstance(tick("order_history_every_five_minutes"), dg.SkipReason)


@pytest.mark.usefixtures("older")
def test_a_table_that_the_run_of_another_promoted_says_so_on_its_own_page(
    connection: Connection, run_job: Run, instance: dg.DagsterInstance
) -> None:
    stand(connection, ORDERS, HISTORY)
    assert run_job("refresh_order_history", instance=instance).success
    assert rules(connection)["orders"] == ORDERS.fold_version
    [record] = instance.fetch_observations(dg.AssetKey("orders"), limit=10).records
    assert record.asset_observation is not None
    said = {name: value.value for name, value in record.asset_observation.metadata.items()}
    assert said == {
        "promoted": True,
        "fold_version": ORDERS.fold_version,
        "added": 0,
        "changed": 0,
        "gone": 0,
    }
    assert instance.fetch_observations(dg.AssetKey("order_history"), limit=10).records == []


@pytest.mark.usefixtures("older")
def test_what_is_made_from_the_tables_follows_within_a_minute(
    connection: Connection, run_job: Run, tick: Callable[[str], Any]
) -> None:
    assert isinstance(tick("rules_every_minute"), dg.SkipReason)
    stand(connection, ORDERS, HISTORY)
    run_job("refresh_orders")
    assert isinstance(tick("rules_every_minute"), dg.RunRequest)
    assert run_job("follow_rules").success
    assert set(rules(connection).values()) == {ORDERS.fold_version}
    assert isinstance(tick("rules_every_minute"), dg.SkipReason)


@pytest.mark.usefixtures("older")
def test_a_person_promotes_all_in_one_run_that_reports_and_checks_like_a_refresh(
    connection: Connection, run_job: Run, metadata_of: Callable[..., dict[str, Any]]
) -> None:
    set_promotion_policy(connection, ORDERS, "manual")
    stand(connection, ORDERS, HISTORY)
    waiting = checks(run_job("refresh_orders"), "fold_version")["orders"]
    assert (waiting.passed, waiting.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "waits for a person: read the check preview, then launch promote_orders" in str(
        waiting.description
    )
    assert set(rules(connection).values()) == {"before"}
    result = run_job("promote_orders")
    refreshed = metadata_of(run_job("refresh_orders"), "orders")
    told = metadata_of(result, "orders")
    assert told["promoted"] is True
    assert refreshed.keys() <= told.keys()
    assert told["dagster/row_count"] == 1
    assert metadata_of(result, "order_history")["fold_version"] == ORDERS.fold_version
    assert all(one.passed for one in checks(result, "fold_version").values())
    assert {"orders", "order_history"} == checks(result, "fold_version").keys()
    assert {"lag", "quarantined"} <= {one.check_name for one in result.get_asset_check_evaluations()}
    names = {derived.name for derived in DOMAIN.derived}
    assert {rules(connection)[name] for name in names} == {ORDERS.fold_version}


@pytest.mark.usefixtures("older")
def test_a_promotion_that_was_killed_between_two_tables_is_gone_on_with_by_the_same_job(
    connection: Connection, run_job: Run
) -> None:
    stand(connection, ORDERS, HISTORY, for_preview=True)
    assert run_job("promote_order_history").success
    found = checks(run_job("refresh_orders"), "fold_version")["orders"]
    assert not found.passed
    assert "Two interpretations are live (orders before, order_history" in str(found.description)
    assert run_job("promote_orders").success
    assert rules(connection)["orders"] == ORDERS.fold_version
    assert not run_job("promote_orders", raise_on_error=False).success
