"""The backup that the clock asks for, as a run in Dagster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from eventstore.server.backup import catalogue
from pipelines.backups import backup_every_night
from pipelines.resources import EventStore
from tests.log.sessions import end_sessions

Run = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def tick(database_url: str) -> Callable[[], Any]:
    context_of = dg.build_schedule_context
    return lambda: backup_every_night(context_of(resources={"store": EventStore(url=database_url)}))


def test_without_a_folder_no_backup_is_asked_for(tick: Callable[[], Any], run_job: Run) -> None:
    skipped = tick()
    assert isinstance(skipped, dg.SkipReason)
    assert "EVENTSTORE_BACKUPS" in (skipped.skip_message or "")
    with pytest.raises(dg.Failure, match="EVENTSTORE_BACKUPS"):
        run_job("backup")


def test_a_backup_is_asked_for_until_there_is_a_good_one(
    tick: Callable[[], Any], run_job: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVENTSTORE_BACKUPS", str(tmp_path))
    assert isinstance(tick(), dg.RunRequest)
    assert run_job("backup").success
    assert isinstance(tick(), dg.SkipReason)
    (found,) = catalogue.all_of(tmp_path)
    assert found.backup.kind == "base"


def test_a_role_that_may_not_copy_the_server_gets_a_dump(
    database_url: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("EVENTSTORE_BACKUPS", str(tmp_path))
    login = f"{connection.info.dbname}_owner"
    connection.execute(f"CREATE ROLE {login} LOGIN; GRANT eventstore_reader TO {login}")
    connection.execute(f"GRANT pg_read_all_data TO {login}")
    try:
        url = database_url.replace("postgres@", f"{login}@")
        from pipelines.definitions import build_defs  # noqa: PLC0415

        job = build_defs({"store": EventStore(url=url)}).resolve_job_def("backup")
        assert job.execute_in_process().success
        (found,) = catalogue.all_of(tmp_path)
        assert found.backup.kind == "dump"
        assert found.backup.user == login
    finally:
        end_sessions(connection, login)
        connection.execute(f"DROP OWNED BY {login}; DROP ROLE {login}")


def test_a_folder_that_cannot_be_written_fails_the_run_in_one_line(
    run_job: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EVENTSTORE_BACKUPS", str(tmp_path / "file"))
    with pytest.raises(dg.Failure, match="cannot write to the folder of backups"):
        run_job("backup")
