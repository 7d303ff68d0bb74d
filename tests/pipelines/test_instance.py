"""Dagster's own configuration and storage."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import dagster as dg
import psycopg
import pytest
import yaml
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from psycopg import sql

from pipelines.instance import fail_orphaned_runs, prepare
from tests.log.sessions import end_sessions


@pytest.fixture
def prepared(database_url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home folder after ``prepare()`` on the test's database."""
    environment = dict(os.environ)
    monkeypatch.setenv("DATABASE_URL", database_url)
    prepare()
    yield home
    os.environ.clear()
    os.environ.update(environment)


def configuration(home: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((home / "dagster" / "dagster.yaml").read_text())
    return loaded


def test_runs_are_kept_in_a_database_of_their_own_on_the_same_server(
    prepared: Path, database_url: str, connection: psycopg.Connection[Any]
) -> None:
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0
    name = connection.info.dbname
    parts = urlsplit(database_url)
    with psycopg.connect(urlunsplit(parts._replace(path=f"/{name}_dagster"))) as own:
        assert own.execute("SELECT count(*) FROM runs").fetchone() == (0,)
    assert connection.execute("SELECT to_regclass('runs')").fetchone() == (None,)


def test_preparing_twice_keeps_what_is_there(prepared: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        dg.materialize([nothing], instance=instance)
    prepare()
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 1


def test_of_a_server_of_yours_it_is_said_that_the_locks_have_too_little_room(
    database_url: str, prepared: Path, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTORE_BUCKETS", "256")
    (room,) = connection.execute("SELECT current_setting('max_locks_per_transaction')::int").fetchone() or (
        0,
    )
    said: list[str] = []
    prepare(said.append)
    assert len(said) == (1 if room < 1024 else 0)
    assert all("ALTER SYSTEM SET max_locks_per_transaction = 1024" in line for line in said)


def test_nothing_is_sent_to_anybody_and_no_sign_up_is_asked_for(prepared: Path) -> None:
    settings = configuration(prepared)
    assert settings["telemetry"]["enabled"] is False
    assert settings["nux"]["enabled"] is False


def test_retries_monitoring_and_freshness_are_on(prepared: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries > 0
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds > 0
        assert instance.freshness_enabled


def test_how_many_runs_there_are_at_once_is_said_by_the_file_of_the_machine(
    prepared: Path, home: Path
) -> None:
    def limits() -> tuple[int, int]:
        found = configuration(prepared)["concurrency"]
        return found["runs"]["max_concurrent_runs"], found["pools"]["default_limit"]

    assert limits() == (8, 2)
    (home / "eventstore.toml").write_text("concurrent_runs = 30\nruns_per_pool = 7\n")
    prepare()
    assert limits() == (30, 7)
    with dg.DagsterInstance.get() as instance:
        assert instance.get_concurrency_config().run_queue_config is not None


def test_a_password_is_in_no_file(
    database_url: str, home: Path, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, role = "s3cret/with:odd@signs", f"login_{os.getpid()}"
    environment = dict(os.environ)
    connection.execute(
        sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(sql.Identifier(role), secret)
    )
    try:
        parts = urlsplit(database_url)
        login = f"{role}:s3cret%2Fwith%3Aodd%40signs@{parts.netloc.rpartition('@')[2]}"
        monkeypatch.setenv("DATABASE_URL", urlunsplit(parts._replace(netloc=login)))
        prepare()
        with dg.DagsterInstance.get() as instance:
            dg.materialize([nothing], instance=instance)
            assert instance.get_runs_count() == 1
        written = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
        assert written
        assert not any(b"s3cret" in content for content in written)
    finally:
        os.environ.clear()
        os.environ.update(environment)
        end_sessions(connection, role)
        connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(sql.Identifier(role)))
        name = sql.Identifier(f"{connection.info.dbname}_dagster")
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({GRPC_INFO_TAG: '{"host": "localhost", "socket": "/nonexistent/socket"}'}, "FAILURE"),
        ({}, "STARTED"),  # a run in a process of its own, such as that of the demo
    ],
)
def test_runs_of_a_dagster_that_is_gone_are_reported_failed(
    prepared: Path, tags: dict[str, str], status: str
) -> None:
    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(
            dg.Definitions([nothing]).resolve_implicit_global_asset_job_def(),
            status=dg.DagsterRunStatus.STARTED,
            tags=tags,
        )
        fail_orphaned_runs()
        found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status.value == status


@pytest.mark.parametrize(
    ("launched", "living", "status"),
    [
        (True, False, WorkerStatus.NOT_FOUND),
        (True, True, WorkerStatus.RUNNING),
        (False, False, WorkerStatus.RUNNING),  # that of the demo, which may run elsewhere
    ],
)
def test_a_run_whose_process_is_gone_is_noticed(
    prepared: Path, launched: bool, living: bool, status: WorkerStatus
) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        gone.wait()
    with dg.DagsterInstance.get() as instance:
        assert instance.run_launcher.supports_check_run_worker_health
        run = instance.create_run_for_job(
            dg.Definitions([nothing]).resolve_implicit_global_asset_job_def(),
            status=dg.DagsterRunStatus.STARTED,
            tags={GRPC_INFO_TAG: "{}"} if launched else {},
        )
        assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING  # in doubt
        data = EngineEventData.in_process(os.getpid() if living else gone.pid)
        instance.report_engine_event("Started process for run.", run, data)
        assert instance.run_launcher.check_run_worker_health(run).status is status


@dg.asset
def nothing() -> None:
    """An asset to run."""
