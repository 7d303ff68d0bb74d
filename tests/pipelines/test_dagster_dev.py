"""``make up``, as a process of its own, watched and driven through its web server."""

import csv
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest
from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

import eventstore
from eventstore.server.urls import with_database
from tests.graphql import ask, log_of

# The tests share one Dagster, hence one log.
pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("dagster")]


@dataclass
class Dagster:
    url: str
    home: Path
    database_url: str

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        return ask(self.url, query, **variables)

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        wanted = [{"key": key, "value": value} for key, value in tags.items()]
        found: list[dict[str, Any]] = self.query(
            "query ($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs { results {"
            " runId jobName status tags { key value } assetSelection { path } } } } }",
            tags=wanted,
        )["runsOrError"]["results"]
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def process_of(self, run_id: str) -> int:
        """The process id of a run's worker."""
        messages = [event["message"] for event in log_of(self.url, run_id)]
        [message] = [message for message in messages if "Executing steps in process" in message]
        return int(message.partition("pid: ")[2].rstrip(")."))

    def errors_of(self, run_id: str) -> list[str]:
        """What a run says of its errors, and at its end."""
        events = log_of(self.url, run_id)
        return [str(event) for event in events if event.get("error")] + [str(events[-3:])]

    def promotions(self) -> int:
        """How many runs promoted a replay of `orders`: its own, and those of what is promoted with it."""
        entries = "{ metadataEntries { label ... on BoolMetadataEntry { boolValue } } }"
        page = self.query(
            '{ assetOrError(assetKey: {path: ["orders"]}) { ... on Asset '
            f"{{ assetMaterializations {entries} assetObservations {entries} }} }} }}"
        )["assetOrError"]
        events = page["assetMaterializations"] + page["assetObservations"]
        found = [entry for event in events for entry in event["metadataEntries"]]
        return sum(entry["boolValue"] for entry in found if entry["label"] == "promoted")


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """The first true value of ``condition``."""
    again = retry(
        retry=retry_if_result(lambda value: not value), wait=wait_fixed(0.5), stop=stop_after_delay(seconds)
    )
    return again(condition)()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def dagster(
    server_url: str, base_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dagster]:
    """Dagster with schedules and sensor on. At the end it stops on SIGTERM and leaves no process behind."""
    home = tmp_path_factory.mktemp("home")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"eventstore_test_{os.environ['EVENTSTORE_TEST_SESSION']}_dev_{worker}"
    port = free_port()
    running = Dagster(f"http://127.0.0.1:{port}", home, with_database(server_url, name))
    settings = {"EVENTSTORE_HOME": str(home), "DATABASE_URL": running.database_url, "COLUMNS": "300"}
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.up", "--port", str(port)],
        cwd=home,
        env=base_environment | settings,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        family: list[psutil.Process] = []
        try:
            assert process.stdout is not None
            said = iter(process.stdout.readline, "")
            assert (
                next((line for line in said if "http://" in line), "") == f"{running.url}   Ctrl-C stops it\n"
            )
            yield running
            family = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.send_signal(signal.SIGTERM)
            ended = process.wait(120)
    assert ended == 0
    assert len(family) >= 4  # dagster dev, its web server, its daemon, its code server
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []


@pytest.fixture
def database(dagster: Dagster) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dagster.database_url, autocommit=True) as connection:
        yield connection


Truth = dict[UUID, tuple[str, Decimal, str, int]]


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> Truth:
    """Customer, amount, status and number of events that each Olist order must end with."""
    with gzip.open(shared_data / "olist" / "truth.csv.gz", "rt", newline="") as file:
        return {
            UUID(row["order_id"]): (
                row["customer_id"],
                Decimal(row["amount"]),
                row["status"],
                int(row["events"]),
            )
            for row in csv.DictReader(file)
        }


@pytest.fixture(scope="module")
def olist(dagster: Dagster, shared_data: Path) -> None:
    """Olist, dropped into the landing folder, has arrived in `orders` by the sensor's run."""
    part = dagster.home / "olist.part"
    shutil.copyfile(shared_data / "olist" / "events.ndjson.gz", part)
    part.rename(dagster.home / "landing" / "olist.ndjson.gz")
    with psycopg.connect(dagster.database_url, autocommit=True) as connection:
        read = "SELECT FROM ingested_files WHERE file LIKE '%/olist.ndjson.gz'"
        until(lambda: connection.execute(read).fetchone() is not None, seconds=240)
    by_sensor = {"dagster/sensor_name": "landing_files"}
    ended = until(
        lambda: (
            (runs := dagster.runs(**by_sensor))
            and all(run["status"] in {"SUCCESS", "FAILURE"} for run in runs)
            and runs
        ),
        seconds=240,
    )
    failed = [run["runId"] for run in ended if run["status"] == "FAILURE"]
    assert not failed, "\n".join(line for run_id in failed for line in dagster.errors_of(run_id))
    assert {run["jobName"] for run in ended} == {"ingest_and_refresh"}


def wrong_rows(database: psycopg.Connection[Any], truth: Truth) -> list[Any]:
    found = {
        row[0]: (str(row[1]), *row[2:])
        for row in database.execute("SELECT order_id, customer_id, amount, status, version FROM orders")
    }
    return [
        (order_id, found.get(order_id), right)
        for order_id, right in truth.items()
        if found.get(order_id) != right
    ]


def test_a_dropped_file_is_in_orders_without_a_click(
    dagster: Dagster, database: psycopg.Connection[Any], event_line: Callable[..., str]
) -> None:
    order_id = uuid4()
    part = dagster.home / "dropped.part"
    part.write_text(event_line("OrderCreated", order_id) + "\n" + event_line("OrderShipped", order_id) + "\n")
    part.rename(dagster.home / "landing" / "dropped.ndjson")
    find = "SELECT status, version FROM orders WHERE order_id = %s"
    found = until(lambda: database.execute(find, (order_id,)).fetchall(), seconds=90)
    assert found == [("Shipped", 2)]
    assert {run["jobName"] for run in dagster.runs(**{"eventstore/files": "1"})} == {"ingest_and_refresh"}


def test_every_olist_order_reaches_its_true_state_through_the_job(
    olist: None, truth: Truth, database: psycopg.Connection[Any]
) -> None:
    assert len(truth) == 74_557
    assert wrong_rows(database, truth) == []
    assert database.execute("SELECT count(*) FROM rejects").fetchone() == (0,)


def test_a_backfill_replays_everything_survives_kill_9_and_is_promoted_once(
    olist: None, truth: Truth, dagster: Dagster, database: psycopg.Connection[Any]
) -> None:
    tampered = spoil(database)
    promoted_before = dagster.promotions()
    with psycopg.connect(dagster.database_url) as blocker:
        # Bucket 06 cannot commit: its worker is stopped in the middle.
        blocker.execute(
            "INSERT INTO replay_buckets (projection, bucket, fold_version, watermark, events, rows) "
            "VALUES ('orders', 6, 'none', gen_random_uuid(), 0, 0)"
        )
        backfill = launch_backfill(dagster)
        until(lambda: waits_for_bucket(database), seconds=180)
        [run] = dagster.runs(**{"dagster/backfill": backfill, "dagster/asset_partition_range_start": "04"})
        os.kill(dagster.process_of(run["runId"]), signal.SIGKILL)
        with eventstore.connect(dagster.database_url) as store:
            during = uuid4()
            store.append(during, eventstore.OrderPaid(amount="1.00", currency="EUR"))  # type: ignore[arg-type]
        blocker.rollback()

    def ended() -> str | None:
        assert spoiled(database) in ({**tampered}, {"tampered": 0, "invented": 0, "missing": 0})
        status = backfill_status(dagster, backfill)
        return status if status not in {"REQUESTED", "COMPLETING"} else None

    try:
        assert until(ended, seconds=300) == "COMPLETED_SUCCESS"
    except RetryError:
        pytest.fail(f"{backfill_status(dagster, backfill)}: {states_of_runs(dagster, backfill)}")
    [killed] = [one for one in dagster.runs(**{"dagster/backfill": backfill}) if one["runId"] == run["runId"]]
    assert killed["status"] == "FAILURE"
    assert killed["tags"]["dagster/will_retry"] == "true"
    assert spoiled(database) == {"tampered": 0, "invented": 0, "missing": 0}
    assert wrong_rows(database, truth) == []
    paid = database.execute("SELECT status, version FROM orders WHERE order_id = %s", (during,)).fetchall()
    assert paid == [("Paid", 1)]
    assert dagster.promotions() - promoted_before == 1


def test_the_graph_is_not_stale_after_new_events_and_a_replay(dagster: Dagster, olist: None) -> None:
    nodes = dagster.query("{ assetNodes { assetKey { path } staleStatus staleCauses { reason } } }")[
        "assetNodes"
    ]
    stale = {
        node["assetKey"]["path"][0]: node["staleCauses"] for node in nodes if node["staleStatus"] == "STALE"
    }
    assert stale == {}


def states_of_runs(dagster: Dagster, backfill: str) -> str:
    """What each run of a backfill is about, and how it stands."""
    runs = dagster.runs(**{"dagster/backfill": backfill})
    return "; ".join(f"{run['runId']} {run['jobName']} {run['status']} {run['tags']}" for run in runs)


def spoil(database: psycopg.Connection[Any]) -> dict[str, int]:
    """Make the live table wrong in each way that a replay must mend; says what `spoiled` will find."""
    database.execute(
        "CREATE TABLE removed AS SELECT * FROM orders WHERE status = 'Delivered' ORDER BY order_id LIMIT 20"
    )
    database.execute("DELETE FROM orders WHERE order_id IN (SELECT order_id FROM removed)")
    database.execute("CREATE TEMPORARY TABLE invented AS SELECT * FROM removed LIMIT 1")
    database.execute("UPDATE invented SET order_id = gen_random_uuid(), status = 'Invented'")
    database.execute("INSERT INTO orders SELECT * FROM invented")
    database.execute(
        "UPDATE orders SET status = 'Tampered', amount = amount + 1 WHERE order_id IN "
        "(SELECT order_id FROM orders WHERE status = 'Shipped' ORDER BY order_id LIMIT 50)"
    )
    return {"tampered": 50, "invented": 1, "missing": 20}


def spoiled(database: psycopg.Connection[Any]) -> dict[str, int]:
    """What of it a reader sees, in one snapshot."""
    row = database.execute(
        "SELECT count(*) FILTER (WHERE status = 'Tampered'), count(*) FILTER (WHERE status = 'Invented'), "
        "(SELECT count(*) FROM removed WHERE order_id NOT IN (SELECT order_id FROM orders)) "
        "FROM orders"
    ).fetchone()
    assert row is not None
    return dict(zip(("tampered", "invented", "missing"), row, strict=True))


def launch_backfill(dagster: Dagster) -> str:
    """What "Materialize all" on the page of the group launches."""
    answer = dagster.query(
        "mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {"
        " __typename ... on LaunchBackfillSuccess { backfillId } } }",
        params={
            "assetSelection": [{"path": ["orders_replay"]}, {"path": ["orders"]}],
            "allPartitions": True,
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess"
    return str(answer["backfillId"])


def backfill_status(dagster: Dagster, backfill: str) -> str:
    found = dagster.query(
        "query ($id: String!) { partitionBackfillOrError(backfillId: $id) {"
        " ... on PartitionBackfill { status } } }",
        id=backfill,
    )
    return str(found["partitionBackfillOrError"]["status"])


def waits_for_bucket(database: psycopg.Connection[Any]) -> bool:
    return bool(
        database.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND wait_event_type = 'Lock' AND query LIKE 'INSERT INTO replay_buckets%'"
        ).fetchall()
    )
