"""The assets and their checks in a run, on a real database."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import psycopg
import pytest

from eventstore.log.settings import change_setting
from tests.buckets import KEYS

Run = Callable[..., dg.ExecuteInProcessResult]
Line = Callable[..., str]


def rows(connection: psycopg.Connection[Any]) -> dict[UUID, tuple[str, int]]:
    """Status and version of each order."""
    found = connection.execute("SELECT order_id, status, version FROM orders").fetchall()
    return {order_id: (status, version) for order_id, status, version in found}


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    [evaluation] = [found for found in result.get_asset_check_evaluations() if found.check_name == name]
    return evaluation


@pytest.fixture
def three_orders(event_line: Line) -> tuple[list[UUID], list[str]]:
    ids = [uuid4() for _ in range(3)]
    lines = [event_line("OrderCreated", order_id) for order_id in ids]
    lines.append(event_line("OrderPaid", ids[0], amount="10.00", currency="EUR"))
    lines.append(event_line("OrderCancelled", ids[1]))
    return ids, lines


def test_a_run_takes_the_waiting_files_into_the_log_and_on_into_orders(
    run_job: Run,
    drop: Callable[..., Path],
    three_orders: tuple[list[UUID], list[str]],
    connection: psycopg.Connection[Any],
    metadata_of: Callable[..., dict[str, Any]],
) -> None:
    ids, lines = three_orders
    drop("a.ndjson", *lines[:3])
    drop("b.ndjson", *lines[3:], "not json", lines[0])
    result = run_job("ingest_and_refresh")
    assert rows(connection) == {ids[0]: ("Paid", 2), ids[1]: ("Cancelled", 2), ids[2]: ("Created", 1)}
    ingested = metadata_of(result, "order_events")
    assert {name: ingested[name] for name in ("read", "events", "duplicates", "rejected")} == {
        "read": 7,
        "events": 5,
        "duplicates": 1,
        "rejected": 1,
    }
    assert [record.data["count"] for record in ingested["rejects_by_reason"].records] == [1]
    assert ingested["dagster/row_count"] == 5
    refreshed = metadata_of(result, "orders")
    newest = connection.execute("SELECT max(id::text) FROM order_events").fetchone()
    assert {
        name: refreshed[name] for name in ("events", "rows", "watermark", "lag_events", "lag_seconds")
    } == {
        "events": 5,
        "rows": 3,
        "watermark": newest and newest[0],
        "lag_events": 0,
        "lag_seconds": 0,
    }
    assert refreshed["events_per_second"] > 0
    assert refreshed["dagster/row_count"] == 3
    assert refreshed["dagster/table_name"].endswith(".public.orders")
    columns = {column.name: column.type for column in refreshed["dagster/column_schema"].columns}
    assert columns["amount"] == "numeric(10,2)"


def test_only_the_files_named_in_the_configuration_are_taken(
    run_job: Run,
    drop: Callable[..., Path],
    three_orders: tuple[list[UUID], list[str]],
    connection: psycopg.Connection[Any],
) -> None:
    ids, lines = three_orders
    named = drop("named.ndjson", lines[0])
    drop("other.ndjson", *lines[1:])
    run_job("ingest_and_refresh", run_config={"ops": {"order_events": {"config": {"paths": [str(named)]}}}})
    assert set(rows(connection)) == {ids[0]}


def test_the_same_events_in_another_file_are_counted_as_duplicates_and_the_same_file_is_known(
    run_job: Run,
    drop: Callable[..., Path],
    three_orders: tuple[list[UUID], list[str]],
    connection: psycopg.Connection[Any],
    metadata_of: Callable[..., dict[str, Any]],
) -> None:
    _, lines = three_orders
    run_job("ingest_and_refresh")
    drop("once.ndjson", *lines)
    run_job("ingest_and_refresh")
    before = rows(connection)
    drop("copy.ndjson", *lines)
    assert metadata_of(run_job("ingest_and_refresh"), "order_events")["read"] == 0
    drop("again.ndjson", *reversed(lines))
    again = run_job("ingest_and_refresh")
    assert metadata_of(again, "order_events")["duplicates"] == len(lines)
    assert metadata_of(again, "orders")["events"] == 0
    assert rows(connection) == before


def test_orders_promotes_a_replay_when_its_last_bucket_stands_and_only_once(
    materialize: Run,
    replay: Callable[..., None],
    run_job: Run,
    drop: Callable[..., Path],
    three_orders: tuple[list[UUID], list[str]],
    connection: psycopg.Connection[Any],
    metadata_of: Callable[..., dict[str, Any]],
) -> None:
    _, lines = three_orders
    drop("a.ndjson", *lines)
    run_job("ingest_and_refresh")
    right = rows(connection)
    connection.execute("UPDATE orders SET status = 'Wrong'")
    replay(KEYS[0], KEYS[-2])
    assert metadata_of(materialize("orders"), "orders")["promoted"] is False
    assert {status for status, _ in rows(connection).values()} == {"Wrong"}
    materialize("orders_replay", partition_key=KEYS[-1])
    assert metadata_of(materialize("orders"), "orders")["promoted"] is True
    assert rows(connection) == right
    assert metadata_of(materialize("orders"), "orders")["promoted"] is False


def test_a_run_over_several_buckets_reports_each_of_them(
    replay: Callable[..., None],
    run_job: Run,
    drop: Callable[..., Path],
    three_orders: tuple[list[UUID], list[str]],
) -> None:
    _, lines = three_orders
    drop("a.ndjson", *lines)
    run_job("ingest")
    with dg.DagsterInstance.ephemeral() as instance:
        replay(KEYS[0], KEYS[1], instance=instance)
        replay(KEYS[2], KEYS[-1], instance=instance)
        found = instance.fetch_materializations(dg.AssetKey("orders_replay"), limit=100).records
    by_bucket = {record.partition_key: record.asset_materialization for record in found}
    assert set(by_bucket) == set(KEYS)
    events = [
        materialization.metadata["events"].value for materialization in by_bucket.values() if materialization
    ]
    assert sum(int(str(count)) for count in events) == len(lines)


def test_rejected_lines_warn_until_they_are_resolved(
    run_job: Run, drop: Callable[..., Path], event_line: Line, connection: psycopg.Connection[Any]
) -> None:
    drop("good.ndjson", event_line("OrderCreated"))
    assert check(run_job("ingest"), "rejects").passed
    drop("bad.ndjson", "{", event_line("OrderTeleported"))
    found = check(run_job("ingest"), "rejects")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    records = found.metadata["rejects_by_reason"].value.records  # type: ignore[union-attr]
    assert sum(record.data["count"] for record in records) == 2
    connection.execute("UPDATE rejects SET resolved_at = now()")
    assert check(run_job("ingest"), "rejects").passed


def test_a_file_that_stays_in_the_landing_folder_warns(
    run_job: Run, drop: Callable[..., Path], event_line: Line, connection: psycopg.Connection[Any]
) -> None:
    drop("left.ndjson", event_line("OrderCreated"))
    assert check(run_job("refresh_orders"), "files_left").passed  # it has just arrived
    connection.execute("ALTER TABLE settings DROP CONSTRAINT max_file_wait_is_between_1_second_and_30_days")
    connection.execute("UPDATE settings SET max_file_wait = '0'")
    found = check(run_job("refresh_orders"), "files_left")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["files"].value == ["left.ndjson"]
    assert check(run_job("ingest"), "files_left").passed


def test_files_that_failed_are_damaged_or_are_left_alone_are_named_by_a_check(
    run_job: Run,
    home: Path,
    drop: Callable[..., Path],
    event_line: Line,
    connection: psycopg.Connection[Any],
) -> None:
    drop("good.ndjson", event_line("OrderCreated"))
    (home / "landing" / "dangling.ndjson").symlink_to("nothing")
    drop("bad.ndjson", event_line("OrderCreated"))
    damaged = gzip.compress(event_line("OrderCreated").encode())[:-9]
    (home / "landing" / "damaged.ndjson").write_bytes(damaged)
    os.utime(home / "landing" / "damaged.ndjson", (1, 1))
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON ingested_files FOR EACH ROW "
        "WHEN (NEW.file LIKE '%/bad.ndjson') EXECUTE FUNCTION refuse()"
    )
    done = run_job("ingest")
    assert done.success
    found = check(done, "files_left")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    tables = {
        name: [record.data for record in found.metadata[name].value.records]  # type: ignore[union-attr]
        for name in ("failed_files", "damaged_files", "skipped_names")
    }
    [failed], [broken], [skipped] = tables.values()
    assert failed["file"] == str(home / "landing" / "bad.ndjson")
    assert (failed["attempts"], failed["last_error"]) == (1, "RaiseException: not this one")
    assert failed["next_try_at"]
    assert broken["file"] == str(home / "landing" / "damaged.ndjson")
    assert str(broken["reason"]).startswith("truncated_gzip: ")
    assert skipped == {
        "file": str(home / "landing" / "dangling.ndjson"),
        "reason": "a link that leads nowhere",
    }


def test_a_configured_path_that_is_not_there_is_one_sentence(run_job: Run, home: Path) -> None:
    config = dg.RunConfig(ops={"order_events": {"config": {"paths": [str(home / "missing.ndjson")]}}})
    failed = run_job("ingest", run_config=config, raise_on_error=False)
    [event] = [event for event in failed.all_events if event.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert str(failure.description).endswith("missing.ndjson: no such file or folder")


def test_rows_folded_by_older_rules_fail_a_check(
    run_job: Run, drop: Callable[..., Path], event_line: Line, connection: psycopg.Connection[Any]
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    assert check(run_job("ingest_and_refresh"), "fold_version").passed
    connection.execute("UPDATE projections SET fold_version = 'before'")
    found = check(run_job("refresh_orders"), "fold_version")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "replay" in (found.description or "")


def test_odd_orders_are_counted_and_warn_when_they_are_many(
    run_job: Run, drop: Callable[..., Path], event_line: Line, connection: psycopg.Connection[Any]
) -> None:
    drop("mostly_good.ndjson", *[event_line("OrderCreated") for _ in range(10)], event_line("OrderShipped"))
    few = check(run_job("ingest_and_refresh"), "anomalies")
    assert (few.passed, few.metadata["odd_orders"].value) == (True, 1)
    drop("odd.ndjson", event_line("OrderShipped"))
    many = check(run_job("ingest_and_refresh"), "anomalies")
    assert (many.passed, many.metadata["odd_orders"].value) == (False, 2)
    assert many.severity == dg.AssetCheckSeverity.WARN
    change_setting(connection, "max_odd_share", "0.5")
    assert check(run_job("refresh_orders"), "anomalies").passed


def test_an_append_left_open_shows_as_lag_with_the_session_that_holds_it(
    run_job: Run,
    drop: Callable[..., Path],
    event_line: Line,
    connection: psycopg.Connection[Any],
    database_url: str,
) -> None:
    with psycopg.connect(database_url, application_name="forgetful") as open_append:
        open_append.execute("SELECT hold_horizon()")
        drop("a.ndjson", event_line("OrderCreated"))
        result = run_job("ingest_and_refresh")
        assert rows(connection) == {}
        found = check(result, "lag")
        assert found.metadata["lag_events"].value == 1
        assert "forgetful" in str(found.metadata["open_appends"].value)
        assert found.passed  # for two minutes nobody need worry
        connection.execute("ALTER TABLE settings DROP CONSTRAINT max_lag_is_between_1_second_and_1_day")
        connection.execute("UPDATE settings SET max_lag = '-1 minute'")  # the next run comes in a minute
        late = check(run_job("refresh_orders"), "lag")
        assert not late.passed
        assert "end_holders" in (late.description or "")
    run_job("refresh_orders")
    assert len(rows(connection)) == 1
