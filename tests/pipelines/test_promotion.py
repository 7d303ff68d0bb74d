"""Preview, promotion by hand and the integrity check, as Dagster shows them."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from eventstore.log.append import append_json
from tests.buckets import BUCKETS, KEYS
from tests.shipped import refresh, set_promotion_policy

Run = Callable[..., dg.ExecuteInProcessResult]
Connection = psycopg.Connection[Any]


@pytest.fixture
def orders(connection: Connection) -> None:
    """Ten shipped orders, folded."""
    for _ in range(10):
        append_json(connection, uuid4(), [{"type": "OrderShipped", "data": {}}])
    refresh(connection)


def preview_of(materialize: Run) -> dg.AssetCheckEvaluation:
    result = materialize("orders_replay", partition_key=KEYS[-1])
    [found] = [one for one in result.get_asset_check_evaluations() if one.check_name == "preview"]
    return found


@pytest.mark.usefixtures("orders")
def test_the_preview_compares_when_the_last_bucket_stands(
    replay: Callable[..., None], materialize: Run
) -> None:
    replay(KEYS[0], KEYS[1])
    assert f"3 of {BUCKETS} parts are replayed" in str(preview_of(materialize).description)
    replay(KEYS[2], KEYS[-1])
    found = preview_of(materialize)
    assert found.passed
    assert found.metadata["differences"].value == 0


@pytest.mark.usefixtures("orders")
def test_a_difference_under_the_same_rules_fails_the_preview_and_the_integrity_job(
    connection: Connection, replay: Callable[..., None], materialize: Run, run_job: Run
) -> None:
    connection.execute(
        "UPDATE orders SET status = 'Wrong' WHERE order_id = (SELECT min(order_id::text)::uuid FROM orders)"
    )
    result = run_job("integrity", raise_on_error=False)
    assert not result.success
    assert connection.execute("SELECT count(*) FROM replay_buckets").fetchone() == (0,)
    replay(KEYS[0], KEYS[-1])
    found = preview_of(materialize)
    assert not found.passed
    assert "| status: Wrong | status: Shipped |" in str(found.metadata["preview"].value)
    assert connection.execute("SELECT count(*) FROM orders WHERE status = 'Wrong'").fetchone() == (1,)


@pytest.mark.usefixtures("orders")
def test_the_integrity_job_passes_and_leaves_nothing_behind(connection: Connection, run_job: Run) -> None:
    assert run_job("integrity").success
    assert connection.execute("SELECT count(*) FROM replay_buckets").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM orders_candidate").fetchone() == (0,)


@pytest.mark.usefixtures("orders")
def test_under_the_manual_policy_a_person_promotes(
    connection: Connection, replay: Callable[..., None], run_job: Run
) -> None:
    set_promotion_policy(connection, "manual")
    connection.execute("UPDATE orders SET status = 'Wrong'")
    assert not run_job("promote_orders", raise_on_error=False).success
    replay(KEYS[0], KEYS[-1])
    assert run_job("refresh_orders").success
    assert connection.execute("SELECT DISTINCT status FROM orders").fetchall() == [("Wrong",)]
    assert run_job("promote_orders").success
    assert connection.execute("SELECT DISTINCT status FROM orders").fetchall() == [("Shipped",)]


@pytest.mark.usefixtures("orders")
def test_checks_tell_of_quarantine_and_of_unknown_events(connection: Connection, run_job: Run) -> None:
    order = uuid4()
    append_json(
        connection, order, [{"type": "OrderPaid", "data": {}}, {"type": "OrderTeleported", "data": {}}]
    )
    checks = {one.check_name: one for one in run_job("refresh_orders").get_asset_check_evaluations()}
    assert not checks["quarantined"].passed
    told: Any = checks["quarantined"].metadata["orders"].value
    assert told.keys() == {str(order)}
    assert (told[str(order)]["version"], told[str(order)].keys()) == (1, {"version", "since", "error"})
    assert checks["unknown_events"].passed  # it comes after the one that makes no sense
    append_json(connection, uuid4(), [{"type": "OrderTeleported", "data": {}}])
    checks = {one.check_name: one for one in run_job("refresh_orders").get_asset_check_evaluations()}
    assert not checks["unknown_events"].passed
