"""When runs are asked for, and when not."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from eventstore.ingestion import landing
from pipelines import freshness
from pipelines.resources import EventStore
from pipelines.schedules import orders_every_minute
from pipelines.sensors import landing_files
from tests.buckets import KEYS
from tests.shipped import ingest_landing, take

Run = Callable[..., dg.ExecuteInProcessResult]
Line = Callable[..., str]


@pytest.fixture
def tick(database_url: str, instance: dg.DagsterInstance) -> Callable[[], Any]:
    """What the minute's schedule answers now."""
    resources = {"store": EventStore(url=database_url)}
    return lambda: orders_every_minute(dg.build_schedule_context(instance=instance, resources=resources))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield instance


@pytest.fixture
def look(database_url: str, instance: dg.DagsterInstance) -> Callable[[], list[Any]]:
    """What the sensor answers now; the cursor goes on from look to look."""
    cursor: str | None = None

    def tick() -> list[Any]:
        nonlocal cursor
        store = EventStore(url=database_url)
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"store": store})
        answer = list(landing_files(context))  # type: ignore[arg-type]
        cursor = context.cursor
        return answer

    return tick


@pytest.fixture
def run_of(instance: dg.DagsterInstance, defs: dg.Definitions) -> Callable[..., None]:
    """A run as the daemon makes it when the sensor asks for one."""

    def make(status: dg.DagsterRunStatus) -> None:
        job = defs.resolve_job_def("ingest_and_refresh")
        instance.create_run_for_job(job, status=status, tags={"dagster/sensor_name": "landing_files"})

    return make


def test_the_schedule_skips_with_a_reason_while_there_is_no_news(
    tick: Callable[[], Any],
    run_job: Run,
    drop: Callable[..., Path],
    event_line: Line,
    instance: dg.DagsterInstance,
) -> None:
    run_job("refresh_orders", instance=instance)
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
    instance: dg.DagsterInstance,
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    run_job("ingest_and_refresh")
    run_job("refresh_orders", instance=instance)
    replay(KEYS[0], KEYS[-2])
    assert isinstance(tick(), dg.SkipReason)
    replay(KEYS[-1], KEYS[-1])
    assert isinstance(tick(), dg.RunRequest)
    run_job("refresh_orders")
    assert isinstance(tick(), dg.SkipReason)


def test_a_quiet_table_proves_its_life_once_in_a_while_and_a_run_that_fails_is_not_piled_up(
    tick: Callable[[], Any],
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(tick(), dg.RunRequest)
    job = defs.resolve_job_def("refresh_orders")
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
    assert isinstance(tick(), dg.SkipReason)
    monkeypatch.setattr(freshness, "PROOF_OF_LIFE", timedelta(0))
    assert isinstance(tick(), dg.RunRequest)


def test_no_table_has_two_schedules(defs: dg.Definitions) -> None:
    jobs = [schedule.job_name for schedule in defs.get_repository_def().schedule_defs]
    assert len(jobs) == len(set(jobs))


@pytest.mark.parametrize(
    "asset", ["orders", "order_history", "log_seals", "customers", "daily_order_metrics"]
)
def test_freshness_follows_the_schedule_in_minutes(defs: dg.Definitions, asset: str) -> None:
    policy = defs.get_repository_def().asset_graph.get(dg.AssetKey(asset)).freshness_policy
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    assert policy.warn_window is not None
    assert freshness.PROOF_OF_LIFE < policy.warn_window.to_timedelta() <= timedelta(minutes=30)
    assert policy.fail_window.to_timedelta() <= timedelta(hours=1)


def test_freshness_of_a_table_with_a_slow_schedule_waits_for_it() -> None:
    policy = freshness.by_schedule("0 3 * * *")
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    assert policy.warn_window is not None
    assert policy.warn_window.to_timedelta() > timedelta(days=1)


def test_one_run_takes_all_files_that_wait(
    look: Callable[[], list[Any]],
    run_job: Run,
    drop: Callable[..., Path],
    event_line: Line,
    metadata_of: Callable[..., dict[str, Any]],
) -> None:
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)
    paths = [drop(f"{number}.ndjson", event_line("OrderCreated")) for number in range(5)]
    [request] = look()
    assert request.tags["eventstore/files"] == "5"
    done = run_job("ingest_and_refresh", run_config=request.run_config)
    assert metadata_of(done, "order_events")["files"] == [str(path) for path in paths]
    assert metadata_of(done, "order_events")["events"] == 5
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)


def test_more_files_than_a_run_takes_are_left_to_the_next_run(
    look: Callable[[], list[Any]],
    run_job: Run,
    drop: Callable[..., Path],
    event_line: Line,
    metadata_of: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(landing, "RUN_FILES", 2)
    for number in range(3):
        drop(f"{number}.ndjson", event_line("OrderCreated"))
    taken = []
    for _ in range(2):
        [request] = look()
        done = run_job("ingest_and_refresh", run_config=request.run_config)
        taken.append(len(metadata_of(done, "order_events")["files"]))
    assert taken == [2, 1]
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING])
def test_no_second_run_is_asked_for_before_the_first_has_begun(
    look: Callable[[], list[Any]],
    run_of: Callable[..., None],
    drop: Callable[..., Path],
    event_line: Line,
    status: dg.DagsterRunStatus,
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    run_of(status)
    [skipped] = look()
    assert "on its way" in skipped.skip_message


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE])
def test_a_run_under_way_or_over_keeps_no_newer_file_from_being_asked_for(
    look: Callable[[], list[Any]],
    run_of: Callable[..., None],
    drop: Callable[..., Path],
    event_line: Line,
    status: dg.DagsterRunStatus,
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    run_of(status)
    [request] = look()
    assert isinstance(request, dg.RunRequest)


def test_a_run_key_never_keeps_a_file_from_being_asked_for_again(
    look: Callable[[], list[Any]], drop: Callable[..., Path], event_line: Line
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    for _ in range(3):
        [request] = look()
        assert request.run_key is None


def test_files_that_a_run_has_taken_are_not_asked_for_again_but_newer_ones_are(
    look: Callable[[], list[Any]],
    home: Path,
    drop: Callable[..., Path],
    event_line: Line,
    connection: psycopg.Connection[Any],
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    taken, _ = take(connection, home / "landing")
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)
    drop("b.ndjson", event_line("OrderCreated"))
    [request] = look()
    assert request.tags["eventstore/files"] == "1"
    landing.release(connection, taken)
    [request] = look()
    assert request.tags["eventstore/files"] == "2"


def test_a_file_that_failed_is_asked_for_again_when_its_pause_is_over(
    look: Callable[[], list[Any]],
    home: Path,
    drop: Callable[..., Path],
    event_line: Line,
    connection: psycopg.Connection[Any],
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    taken, _ = take(connection, home / "landing")
    landing.begin(connection, taken, taken.together)
    connection.execute("UPDATE landing_files SET claimed_until = now()")  # the process was killed
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)
    connection.execute("UPDATE landing_files SET next_try_at = now()")
    [request] = look()
    assert isinstance(request, dg.RunRequest)


def test_names_that_cannot_be_read_are_named_once_and_the_good_file_beside_them_is_taken(
    look: Callable[[], list[Any]],
    run_job: Run,
    home: Path,
    drop: Callable[..., Path],
    event_line: Line,
) -> None:
    secret = home / "secret.ndjson"
    secret.write_text("secret")
    (home / "landing" / "out.ndjson").symlink_to(secret)
    Path(os.fsdecode(os.fsencode(home) + b"/landing/\xff.ndjson")).write_bytes(b"")
    [skipped] = look()
    assert "out.ndjson (a link that leads out of the folder)" in skipped.skip_message
    assert "\\xff.ndjson (its name is not UTF-8)" in skipped.skip_message
    assert "\n" not in skipped.skip_message
    [again] = look()
    assert "Left alone" not in again.skip_message
    drop("good.ndjson", event_line("OrderCreated"))
    [request] = look()
    assert run_job("ingest_and_refresh", run_config=request.run_config).success
    [again] = look()
    assert "Left alone" not in again.skip_message
    (home / "landing" / "out.ndjson").unlink()
    look()
    (home / "landing" / "out.ndjson").symlink_to(secret)
    [anew] = look()
    assert "out.ndjson" in anew.skip_message
    assert "xff" not in anew.skip_message


def test_a_tick_without_a_database_fails_with_one_line(home: Path) -> None:
    away = EventStore(url="postgresql://nobody@127.0.0.1:1/nowhere")
    with pytest.raises(Exception, match="cannot connect") as raised:
        list(landing_files(dg.build_sensor_context(resources={"store": away})))  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


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


def test_what_was_put_back_is_moved_again_by_the_next_run_and_the_log_says_so(
    look: Callable[[], list[Any]],
    run_job: Run,
    home: Path,
    drop: Callable[..., Path],
    event_line: Line,
    metadata_of: Callable[..., dict[str, Any]],
) -> None:
    path = drop("a.ndjson", event_line("OrderCreated"))
    done = run_job("ingest_and_refresh", run_config=look()[0].run_config)
    [moved] = metadata_of(done, "order_events")["moved_files"].records
    Path(moved.data["moved_to"]).rename(path)
    [request] = look()
    assert isinstance(request, dg.RunRequest)
    again = run_job("ingest_and_refresh", run_config=request.run_config)
    assert metadata_of(again, "order_events")["events"] == 0
    assert not path.exists()
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)


def test_what_a_run_had_no_time_to_move_is_left_to_it_while_it_runs_and_then_to_the_next(
    look: Callable[[], list[Any]],
    run_of: Callable[..., None],
    home: Path,
    drop: Callable[..., Path],
    event_line: Line,
    connection: psycopg.Connection[Any],
) -> None:
    drop("a.ndjson", event_line("OrderCreated"))
    ingest_landing(connection, home / "landing", move=False)  # as one that was killed before it moved
    [request] = look()
    assert isinstance(request, dg.RunRequest)
    run_of(dg.DagsterRunStatus.STARTED)
    [skipped] = look()
    assert "are to be moved" in skipped.skip_message


def test_by_the_setting_files_stay_and_no_run_is_asked_for(
    look: Callable[[], list[Any]], run_job: Run, home: Path, drop: Callable[..., Path], event_line: Line
) -> None:
    (home / "eventstore.toml").write_text("move_files = false")
    path = drop("a.ndjson", event_line("OrderCreated"))
    run_job("ingest_and_refresh", run_config=look()[0].run_config)
    assert path.exists()
    [skipped] = look()
    assert isinstance(skipped, dg.SkipReason)
