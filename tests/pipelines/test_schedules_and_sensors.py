"""When runs are asked for, and when not."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from pipelines.resources import EventStore
from pipelines.schedules import orders_every_minute
from pipelines.sensors import landing_files

Run = Callable[..., dg.ExecuteInProcessResult]
Line = Callable[..., str]


@pytest.fixture
def tick(database_url: str) -> Callable[[], Any]:
    """What the minute's schedule answers now."""
    context_of = dg.build_schedule_context
    return lambda: orders_every_minute(context_of(resources={"store": EventStore(url=database_url)}))


@pytest.fixture
def look(database_url: str) -> Callable[[], list[Any]]:
    """What the sensor answers now."""
    context_of = dg.build_sensor_context
    return lambda: list(landing_files(context_of(resources={"store": EventStore(url=database_url)})))  # type: ignore[arg-type]


def test_the_schedule_skips_with_a_reason_while_there_is_no_news(
    tick: Callable[[], Any], run_job: Run, drop: Callable[..., Path], event_line: Line
) -> None:
    assert isinstance(tick(), dg.SkipReason)
    drop("a.ndjson", event_line("OrderCreated"))
    run_job("ingest")
    assert isinstance(tick(), dg.RunRequest)
    run_job("refresh_orders")
    skipped = tick()
    assert isinstance(skipped, dg.SkipReason)
    assert "watermark" in (skipped.skip_message or "")


def test_the_schedule_runs_for_a_finished_replay_although_there_is_no_new_event(
    tick: Callable[[], Any],
    run_job: Run,
    replay: Callable[..., None],
    drop: Callable[..., Path],
    event_line: Line,
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    run_job("ingest_and_refresh")
    replay("00", "14")
    assert isinstance(tick(), dg.SkipReason)
    replay("15", "15")
    assert isinstance(tick(), dg.RunRequest)
    run_job("refresh_orders")
    assert isinstance(tick(), dg.SkipReason)


def test_the_sensor_asks_for_one_run_per_waiting_file(
    look: Callable[[], list[Any]], run_job: Run, drop: Callable[..., Path], event_line: Line
) -> None:
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)
    one, two = drop("one.ndjson", event_line("OrderCreated")), drop("two.jsonl", event_line("OrderCreated"))
    requests = look()
    paths = [request.run_config["ops"]["order_events"]["config"]["paths"] for request in requests]
    assert sorted(paths) == [[str(one)], [str(two)]]
    assert len({request.run_key for request in requests}) == 2
    run_job("ingest_and_refresh", run_config=requests[0].run_config)
    assert [request.run_key for request in look()] == [requests[1].run_key]


def test_a_file_keeps_its_run_key_until_it_changes(
    look: Callable[[], list[Any]], drop: Callable[..., Path], event_line: Line
) -> None:
    path = drop("a.ndjson", event_line("OrderCreated"))
    [first], [same] = look(), look()
    assert same.run_key == first.run_key
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    [touched] = look()
    assert touched.run_key != first.run_key
    with path.open("a") as file:
        file.write(event_line("OrderCreated") + "\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    [longer] = look()
    assert longer.run_key not in {first.run_key, touched.run_key}


def test_the_sensor_follows_a_file_into_orders(
    look: Callable[[], list[Any]],
    run_job: Run,
    drop: Callable[..., Path],
    event_line: Line,
    connection: psycopg.Connection[Any],
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    [request] = look()
    run_job(landing_files.job.name, run_config=request.run_config)
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)


def test_a_database_that_was_never_set_up_is_said_to_be_that(
    new_database: Callable[..., str], home: Path
) -> None:
    empty = EventStore(url=new_database(migrated=False))
    with pytest.raises(Exception, match="eventstore init"):
        list(landing_files(dg.build_sensor_context(resources={"store": empty})))  # type: ignore[arg-type]
