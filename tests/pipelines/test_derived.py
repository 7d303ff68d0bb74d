"""Snapshots by day, customers and daily metrics, as Dagster runs them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import psycopg

from eventstore.log.append import append_json

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
