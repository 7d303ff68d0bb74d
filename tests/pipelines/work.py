"""The work that a database did for something, by its own counters: deterministic, unlike any clock."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import dagster as dg
import psycopg

from eventstore.engine.derived import refresh_derived
from eventstore.engine.status import status
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import DOMAIN
from eventstore.seals.outside import outside
from eventstore.seals.sealing import seal
from pipelines.backups import backup
from pipelines.definitions import build_defs
from pipelines.resources import EventStore
from tests.killing import until
from tests.shipped import refresh, refresh_stale


class Work(NamedTuple):
    buffers: int  #: pages of the cache that were touched
    rows: int  #: that were read, of tables or of indexes

    def times(self, other: "Work") -> float:
        """How many times as much it is, by the counter that grew more."""
        return max(self.buffers / max(1, other.buffers), self.rows / max(1, other.rows))


def work_of(url: str, do: Callable[[], object]) -> Work:
    """What ``do`` costs in the tables of a database; it opens connections of its own, and closes them."""
    with psycopg.connect(url, autocommit=True) as observer:
        before = _counters(observer)
        do()
        after = _counters(observer)
    return Work(after.buffers - before.buffers, after.rows - before.rows)


def _counters(observer: psycopg.Connection[Any]) -> Work:
    until(lambda: _is_quiet(observer))  # a session counts when it has ended
    row = observer.execute(
        "SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0)) "
        "FROM pg_statio_user_tables"
    ).fetchone()
    rows = observer.execute(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), "
        "(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) FROM pg_stat_user_tables"
    ).fetchone()
    assert row is not None
    assert rows is not None
    return Work(int(row[0]), int(rows[0] + rows[1]))


def _is_quiet(observer: psycopg.Connection[Any]) -> bool:
    others = observer.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return not others.fetchall()


def catch_up(url: str) -> None:
    """Refresh and seal everything, in the home that EVENTSTORE_HOME names."""
    with open_connection(url) as connection:
        for projection in DOMAIN.projections:
            refresh(connection, projection)
        refresh_stale(connection)
        for derived in DOMAIN.derived:
            refresh_derived(connection, derived)
        seal(connection, outside())


def append_news(url: str, day: datetime, orders: int) -> None:
    """So many new orders with two events each, and an event more of so many others; all of that day."""
    with open_connection(url) as connection:
        known = connection.execute(
            "SELECT order_id FROM orders WHERE version < 4 ORDER BY order_id LIMIT %s", (orders,)
        ).fetchall()
        money = {"amount": "10.00", "currency": "EUR"}
        paid = {"type": "OrderPaid", "data": money}
        at = {"created_at": int(day.timestamp() * 1000)}
        for _ in range(orders):
            created = {"type": "OrderCreated", "data": {"customer_id": str(uuid4()), **money}}
            append_json(connection, uuid4(), [created | at, paid | at])
        for (order,) in known:
            append_json(connection, order, [paid | at])


def leave_alone(url: str) -> None:
    """Vacuum and analyze everything, and never again by itself: what that reads would be counted too."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text, c.reltoastrelid <> 0 FROM pg_class c "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for table, has_toast in tables:
            toast = ", toast.autovacuum_enabled = off" if has_toast else ""
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off{toast})")
        connection.execute("VACUUM ANALYZE")


def scheduled(url: str, day: str) -> dict[str, Callable[[], object]]:
    """Everything that runs by the clock, or is asked for every few seconds: by its name, what runs it.

    Each job as Dagster runs it, with its checks; ``day`` is the partition of those that have one a day.
    """
    store = EventStore(url=url)
    repository = build_defs({"store": store}).get_repository_def()
    of_schedules = dg.DagsterInstance.local_temp()  # an ephemeral one is not handed on

    def run(job: dg.JobDefinition) -> Callable[[], object]:
        return lambda: job.execute_in_process(partition_key=day if job.partitions_def else None)

    def tick(schedule: dg.ScheduleDefinition) -> Callable[[], object]:
        context = dg.build_schedule_context(
            instance=of_schedules, resources={"store": store}, scheduled_execution_time=datetime.now(UTC)
        )
        return lambda: schedule.evaluate_tick(context)

    def look(sensor: dg.SensorDefinition) -> Callable[[], object]:
        def evaluate() -> None:
            with dg.DagsterInstance.ephemeral() as instance:
                sensor.evaluate_tick(dg.build_sensor_context(instance=instance, resources={"store": store}))

        return evaluate

    def read_status() -> None:
        with open_connection(url) as connection:
            status(connection, DOMAIN)

    # A backup costs what there is, and needs a folder.
    jobs = {schedule.job_name for schedule in repository.schedule_defs} - {backup.name}
    jobs |= {target.job_name for sensor in repository.sensor_defs for target in sensor.targets}
    return (
        {"status": read_status}
        | {f"schedule {schedule.name}": tick(schedule) for schedule in repository.schedule_defs}
        | {f"sensor {sensor.name}": look(sensor) for sensor in repository.sensor_defs}
        | {f"job {name}": run(repository.get_job(name)) for name in sorted(jobs)}
    )
