"""Snapshots by day, customers and daily metrics, as Dagster runs them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import psycopg

from eventstore.engine.proofs import proofs_of
from eventstore.engine.snapshots.due import last_settled
from eventstore.log.append import append_json
from eventstore.orders.domain import DOMAIN
from pipelines.resources import EventStore
from pipelines.schedules import snapshots_every_night
from tests.seals.tampering import LOG, altering
from tests.shipped import build_snapshots

Run = Callable[..., dg.ExecuteInProcessResult]
DAY_1, DAY_2 = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)
CUSTOMER = UUID(int=7)


def event(kind: str, at: datetime, **data: Any) -> dict[str, Any]:
    return {"type": kind, "data": data, "created_at": int(at.timestamp() * 1000)}


def test_a_run_builds_the_snapshots_of_a_range_of_days(
    connection: psycopg.Connection[Any], materialize: Run
) -> None:
    order = uuid4()
    append_json(connection, order, [event("OrderShipped", DAY_1), event("OrderDelivered", DAY_2)])
    span = {
        "dagster/asset_partition_range_start": "2026-03-01",
        "dagster/asset_partition_range_end": "2026-03-03",
    }
    result = materialize("order_snapshots", tags=span)
    rows = connection.execute("SELECT day::text, status FROM order_snapshots ORDER BY day").fetchall()
    assert rows == [("2026-03-01", "Shipped"), ("2026-03-02", "Delivered")]
    counts = [
        one.metadata["dagster/partition_row_count"].value
        for one in result.asset_materializations_for_node("order_snapshots")
    ]
    assert sorted(map(str, counts)) == ["0", "1", "1"]


def test_the_metrics_job_brings_customers_and_daily_metrics_up_to_orders(
    connection: psycopg.Connection[Any], run_job: Run
) -> None:
    money = {"amount": "12.50", "currency": "EUR"}
    created = event("OrderCreated", DAY_1, customer_id=str(CUSTOMER), **money)
    append_json(connection, uuid4(), [created, event("OrderPaid", DAY_2, **money)])
    assert run_job("refresh_orders").success
    assert run_job("refresh_metrics").success
    customers = connection.execute("SELECT customer_id, orders FROM customers").fetchall()
    assert customers == [(CUSTOMER, 1)]
    days = connection.execute(
        "SELECT day::text, created, paid, revenue::text FROM daily_order_metrics ORDER BY day"
    ).fetchall()
    assert days == [("2026-03-01", 1, 0, "0.00"), ("2026-03-02", 0, 1, "12.50")]


def counts(result: Any) -> list[bool]:
    return [each.passed for each in result.get_asset_check_evaluations() if each.check_name == "counts"]


def test_a_derived_table_is_computed_anew_on_demand(
    connection: psycopg.Connection[Any], run_job: Run, materialize: Run
) -> None:
    append_json(connection, uuid4(), [event("OrderShipped", DAY_1)])
    assert run_job("refresh_orders").success
    assert run_job("refresh_metrics").success
    connection.execute("SET eventstore.refreshing = 'on'")  # as if it were its refresh
    connection.execute("UPDATE daily_order_metrics SET shipped = -1")
    result = run_job("refresh_metrics")
    assert [
        check.passed for check in result.get_asset_check_evaluations() if check.check_name == "counts"
    ] == [False]
    anew = {"ops": {"daily_order_metrics": {"config": {"rebuild": True}}}}
    result = materialize("daily_order_metrics", run_config=anew)
    assert [
        check.passed for check in result.get_asset_check_evaluations() if check.check_name == "counts"
    ] == [True]
    assert connection.execute("SELECT shipped FROM daily_order_metrics").fetchall() == [(1,)]


def test_orders_are_counted_by_status_and_by_what_is_odd(
    connection: psycopg.Connection[Any], run_job: Run
) -> None:
    for _ in range(3):
        append_json(connection, uuid4(), [event("OrderShipped", DAY_1)])
    append_json(connection, uuid4(), [event("OrderTeleported", DAY_1)])
    checks = {one.check_name: one for one in run_job("refresh_orders").get_asset_check_evaluations()}
    assert checks["anomalies"].metadata["odd_orders"].value == 3
    assert checks["anomalies"].description == "3 of 4 orders are odd."
    assert not checks["anomalies"].passed
    assert not checks["unknown_events"].passed


def test_the_proofs_of_a_night_are_shown_on_the_page_of_the_log(
    connection: psycopg.Connection[Any], run_job: Run
) -> None:
    append_json(connection, uuid4(), [event("OrderShipped", DAY_1)])
    assert run_job("refresh_orders").success
    assert run_job("integrity").success
    assert run_job("check_history").success
    check = proofs(run_job)
    assert check.passed
    table: Any = check.metadata["proofs"]
    assert {record.data["proof"]: record.data["all_proven"] != "not yet" for record in table.records} == {
        proof.name: True for proof in proofs_of(DOMAIN)
    }
    connection.execute("UPDATE orders SET status = 'Wrong'")
    assert not run_job("integrity", raise_on_error=False).success
    assert not proofs(run_job).passed
    connection.execute("UPDATE orders SET status = 'Shipped'")
    assert run_job("integrity_of_everything").success
    assert proofs(run_job).passed
    assert run_job("integrity_by_replay").success


def proofs(run_job: Run) -> dg.AssetCheckEvaluation:
    [found] = [
        one for one in run_job("refresh_orders").get_asset_check_evaluations() if one.check_name == "proofs"
    ]
    return found


def night(database_url: str, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    resources = {"store": EventStore(url=database_url)}
    context = dg.build_schedule_context(instance=instance, resources=resources)
    answer = snapshots_every_night(context)
    assert isinstance(answer, dg.RunRequest | dg.SkipReason)
    return answer


def test_the_first_snapshots_come_by_themselves_and_their_run_is_not_asked_for_twice(
    connection: psycopg.Connection[Any], database_url: str, defs: dg.Definitions, tmp_path: Path
) -> None:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        assert isinstance(night(database_url, instance), dg.SkipReason)  # the log is empty
        append_json(connection, uuid4(), [event("OrderShipped", DAY_1), event("OrderDelivered", DAY_2)])
        asked = night(database_url, instance)
        assert isinstance(asked, dg.RunRequest)
        job = defs.resolve_job_def("snapshot_day")
        assert job.execute_in_process(instance=instance, tags=asked.tags).success
        rows = connection.execute("SELECT day::text, status FROM order_snapshots ORDER BY day").fetchall()
        assert rows == [("2026-03-01", "Shipped"), ("2026-03-02", "Delivered")]
        # Then the days since; asked for once more, it has the key by which Dagster makes one run of both.
        since, again = night(database_url, instance), night(database_url, instance)
        assert isinstance(since, dg.RunRequest)
        assert isinstance(again, dg.RunRequest)
        keys = [str(each.run_key).partition(", ")[0] for each in (asked, since, again)]
        assert keys[0] != keys[1] == keys[2]


def test_snapshots_that_somebody_built_elsewhere_are_shown_on_the_page_too(
    connection: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    append_json(connection, uuid4(), [event("OrderShipped", DAY_1)])
    yesterday = last_settled(datetime.now(UTC))
    build_snapshots(connection, yesterday, yesterday)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        asked = night(database_url, instance)
        assert isinstance(asked, dg.RunRequest)
        assert set(asked.tags.values()) == {str(yesterday)}


def test_one_job_makes_every_read_model_anew_and_until_then_a_check_fails(
    connection: psycopg.Connection[Any], run_job: Run
) -> None:
    order = uuid4()
    append_json(connection, order, [event("OrderShipped", DAY_1), event("OrderDelivered", DAY_1)])
    assert run_job("refresh_orders").success
    assert run_job("refresh_metrics").success
    with altering(connection, *LOG):
        connection.execute("DELETE FROM order_events WHERE version = 2")
    assert not run_job("refresh_orders", raise_on_error=False).success
    rebuilt = run_job("rebuild")
    assert rebuilt.success
    assert connection.execute("SELECT status FROM orders").fetchall() == [("Shipped",)]
    assert connection.execute("SELECT delivered FROM daily_order_metrics").fetchall() == [(0,)]
    checks = {one.check_name: one for one in run_job("refresh_orders").get_asset_check_evaluations()}
    assert checks["ahead_of_log"].passed
