"""Runs on the nodes of a Ray cluster: spread, killed with all that they stand on, cancelled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import psycopg
import pytest

pytest.importorskip("dagster_ray", reason="needs the extra [ray]: make test-cluster")

from eventstore.orders.domain import DOMAIN
from tests.buckets import BUCKETS
from tests.cluster.conftest import PASSWORD, Truth, orders_of
from tests.cluster.driving import Cluster, Dagster, kill, until

Database = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def ingested(dagster: Dagster, database: Database, truth: Truth) -> None:
    """All events are in the log before anything is asked."""
    wanted = sum(events for *_, events in truth.values())
    until(lambda: count(database, "order_events") == wanted)


def count(database: Database, table: str) -> int:
    row = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def held(database: Database, url: str, bucket: int) -> Iterator[None]:
    """While the block lasts, a run that replays the bucket waits where it is about to write."""
    table = DOMAIN.states.candidate_bucket(bucket, BUCKETS)
    with psycopg.connect(url) as blocker:
        blocker.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def waiting_run(dagster: Dagster, cluster: Cluster, database: Database, backfill: str) -> str:
    """The run of the backfill that waits for that bucket."""

    def find() -> str:
        waits = database.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'relation'"
        ).fetchone()
        started = [
            run["runId"]
            for run in dagster.runs(dagster__backfill=backfill)
            if run["status"] == "STARTED" and cluster.run_processes(run["runId"])
        ]
        return started[0] if waits and waits[0] and len(started) == 1 else ""

    return until(find)


def completed(dagster: Dagster, backfill: str) -> bool:
    status = dagster.backfill_status(backfill)
    assert status not in {"COMPLETED_FAILED", "FAILED", "CANCELED"}, status
    return status == "COMPLETED_SUCCESS"


def test_a_replay_is_spread_over_the_nodes_and_equals_the_truth(
    dagster: Dagster, cluster: Cluster, database: Database, truth: Truth
) -> None:
    backfill = dagster.replay()
    until(lambda: completed(dagster, backfill))
    assert orders_of(database) == truth
    jobs = cluster.jobs()
    runs = [run["runId"] for run in dagster.runs(dagster__backfill=backfill)]
    assert set(runs) <= set(jobs)
    assert len({jobs[run].driver_node_id for run in runs}) == 2


def names_of(dagster: Dagster) -> dict[str, str]:
    """The jobs of the runs that succeeded."""
    return {run["runId"]: run["jobName"] for run in dagster.runs() if run["status"] == "SUCCESS"}


def test_ingestion_stays_on_the_host_and_the_refresh_by_the_clock_does_not(
    dagster: Dagster, cluster: Cluster
) -> None:
    jobs, names = cluster.jobs(), names_of(dagster)
    assert "ingest_and_refresh" in names.values()
    assert "ingest_and_refresh" not in {names.get(run) for run in jobs}
    until(lambda: "refresh_orders" in {names_of(dagster).get(run) for run in cluster.jobs()})


def test_no_job_of_the_cluster_holds_the_password(
    dagster: Dagster, cluster: Cluster, secret_url: str
) -> None:
    jobs = cluster.jobs()
    assert PASSWORD in secret_url
    assert jobs
    assert not any(PASSWORD in repr(job) for job in jobs.values())


@pytest.mark.parametrize("victim", ["the run", "the node", "the head"])
def test_a_replay_ends_by_itself_after_kill_9(
    dagster: Dagster, cluster: Cluster, database: Database, secret_url: str, truth: Truth, victim: str
) -> None:
    until(lambda: cluster.nodes() == 2)
    with held(database, secret_url, bucket=13):
        backfill = dagster.replay()
        run = waiting_run(dagster, cluster, database, backfill)
        victims = {
            "the run": cluster.run_processes,
            "the node": cluster.node_with,
            "the head": cluster.head_of,
        }
        kill(victims[victim](run))
    database.execute(
        "UPDATE orders SET status = 'Wrong' WHERE order_id = (SELECT order_id FROM orders LIMIT 1)"
    )
    until(lambda: completed(dagster, backfill), 900)
    assert orders_of(database) == truth


def test_while_the_head_is_away_launches_wait_and_use_up_no_retries(
    dagster: Dagster, cluster: Cluster, database: Database
) -> None:
    for run in dagster.runs():
        waited = [
            message for message in dagster.events(run["runId"]) if "waits for the Ray cluster" in message
        ]
        if waited:
            break
    else:
        pytest.fail("no run was launched while the head was away")
    until(lambda: dagster.status(run["runId"]) == "SUCCESS")


def test_cancel_ends_canceled_and_stays_so(
    dagster: Dagster, cluster: Cluster, database: Database, secret_url: str
) -> None:
    until(lambda: cluster.nodes() == 2)
    with held(database, secret_url, bucket=13):
        backfill = dagster.replay()
        run = waiting_run(dagster, cluster, database, backfill)
        dagster.cancel(run)
        until(lambda: dagster.status(run) == "CANCELED")
        until(lambda: not cluster.run_processes(run))
    until(lambda: dagster.backfill_status(backfill) not in {"REQUESTED", "CANCELING", "FAILING"})
    assert dagster.status(run) == "CANCELED"
    assert run in {each["runId"] for each in dagster.runs()}
    assert dagster.runs(dagster__parent_run_id=run) == []


def test_pools_hold_across_the_nodes_and_free_their_places(
    dagster: Dagster, cluster: Cluster, home: Any, monkeypatch: pytest.MonkeyPatch, secret_url: str
) -> None:
    from pipelines.instance import STORAGE_URL, storage_url  # noqa: PLC0415

    monkeypatch.setenv(STORAGE_URL, storage_url(secret_url))
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        pool = instance.event_log_storage.get_concurrency_info
        most = pool("replay").slot_count
        assert most == 2
        backfill = dagster.replay()
        seen = 0

        def done() -> bool:
            nonlocal seen
            seen = max(seen, pool("replay").active_slot_count)
            return completed(dagster, backfill)

        until(done, 900)
        assert 1 <= seen <= most
        until(lambda: pool("replay").active_slot_count == 0)
