"""eventstore doctor: whatever is missing is one line with its remedy, and exit code 2."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from eventstore.server import databases
from eventstore.server.urls import with_database
from tests.buckets import BUCKETS
from tests.log.sessions import end_sessions
from tests.shipped import upgrade

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> Path:
    (tmp_path / "landing").mkdir()
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.setenv("PORT", str(free))
    return tmp_path


@pytest.fixture
def free() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def failing(cli: Cli) -> tuple[str, str]:
    """Subject and line of the only thing that is wrong."""
    ran = cli("doctor")
    assert ran.code == 2
    [line] = [each for each in ran.out.splitlines() if each.startswith("fail\t")]
    assert "Traceback" not in ran.out + ran.err
    return line.split("\t")[2], line


def test_where_nothing_is_missing_all_is_said_to_be_well(cli: Cli) -> None:
    found = cli("doctor", "--json").json
    assert found["verdict"] == "ok"
    assert [each["subject"] for each in found["verdicts"]] == [
        "home",
        "settings",
        "landing",
        "server",
        "schema",
        "rights",
        "buckets",
        "port",
    ]
    assert cli("doctor").code == 0


def test_a_server_that_does_not_answer(cli: Cli, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://ann:secret@127.0.0.1:{free}/x")
    subject, line = failing(cli)
    assert subject == "server"
    assert "check that PostgreSQL runs there" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("url", "says"), [("mysql://ann:secret@localhost/x", "only PostgreSQL"), ("nonsense", "is not a URL")]
)
def test_a_wrong_url(cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, says: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    subject, line = failing(cli)
    assert subject == "settings"
    assert says in line
    assert "secret" not in line


def test_a_database_that_is_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch, server_url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", with_database(server_url, "eventstore_test_nowhere"))
    subject, line = failing(cli)
    assert subject == "server"
    assert "`eventstore init` creates a database that is missing" in line


def test_a_database_without_the_schema(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, new_database: Callable[..., str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", new_database(migrated=False))
    subject, line = failing(cli)
    assert subject == "schema"
    assert line.endswith("\teventstore init")
    assert cli("init").code == 0
    assert cli("doctor").code == 0


@pytest.mark.parametrize(
    ("revision", "remedy"),
    [("9999", "install the release that upgraded it"), ("0001", "eventstore init")],
)
def test_a_schema_of_another_release(cli: Cli, connection: Connection, revision: str, remedy: str) -> None:
    connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))
    subject, line = failing(cli)
    assert subject == "schema"
    assert f"at revision {revision}" in line
    assert remedy in line


def test_an_index_of_the_log_that_somebody_dropped(cli: Cli, connection: Connection) -> None:
    connection.execute("DROP INDEX order_events_03_identity")
    subject, line = failing(cli)
    assert subject == "schema"
    assert "1 index of the log is missing, such as order_events_03_identity" in line
    assert line.endswith("\teventstore init")
    assert cli("init").code == 0
    assert cli("doctor").code == 0


def test_a_server_that_is_too_old(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_OLDEST_VERSION", 99)
    subject, line = failing(cli)
    assert subject == "server"
    assert "needs 99 or newer" in line


def test_a_role_without_rights(
    cli: Cli, connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = sql.Identifier(f"{connection.info.dbname}_nobody")
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'p'").format(role))
    try:
        database = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
        user = f"{connection.info.dbname}_nobody:p@"
        rest = database_url.split("://", 1)[1].split("@", 1)[-1]
        monkeypatch.setenv("DATABASE_URL", f"postgresql://{user}{rest}")
        subject, line = failing(cli)
        assert subject == "rights"
        assert "eventstore_reader" in line
        connection.execute(sql.SQL("GRANT eventstore_reader TO {}").format(role))
        ran = cli("doctor")
        assert ran.code == 0
        [warned] = [each for each in ran.out.splitlines() if each.startswith("warn\t")]
        assert "may read, but not append" in warned
        assert "GRANT eventstore_writer" in warned
    finally:
        end_sessions(connection, f"{connection.info.dbname}_nobody")
        connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_home_that_is_no_folder(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("")
    for place in ("file", "file/below"):
        monkeypatch.setenv("EVENTSTORE_HOME", str(home / place))
        subject, line = failing_first(cli)
        assert subject == "home"
        assert "set EVENTSTORE_HOME to a folder of yours" in line


def failing_first(cli: Cli) -> tuple[str, str]:
    ran = cli("doctor")
    assert ran.code == 2
    line = ran.out.splitlines()[0]
    return line.split("\t")[2], line


def test_a_home_that_cannot_be_written_to(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", "/proc")  # for root, too
    subject, line = failing_first(cli)
    assert subject == "home"
    assert "cannot write to /proc" in line


def test_settings_that_cannot_be_read(cli: Cli, home: Path) -> None:
    (home / "eventstore.toml").write_text("nonsense")
    subject, line = failing(cli)
    assert subject == "settings"
    assert "eventstore.toml is not TOML" in line


def test_a_landing_folder_that_is_missing(cli: Cli, home: Path) -> None:
    (home / "landing").rmdir()
    subject, line = failing(cli)
    assert (subject, line.split("\t")[-1]) == ("landing", "eventstore init")
    assert cli("init").code == 0
    assert cli("doctor").code == 0


def test_a_port_that_is_taken(cli: Cli, free: int) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free))
        listener.listen()
        subject, line = failing(cli)
    assert subject == "port"
    assert f"make up PORT={free + 1}" in line
    assert cli("doctor").code == 0


def test_another_number_of_buckets_than_is_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv("EVENTSTORE_BUCKETS", raising=False)
    (home / "eventstore.toml").write_text(f"buckets = {2 if BUCKETS == 1 else 1}")
    subject, line = failing(cli)
    assert subject == "buckets"
    assert f"the log has {BUCKETS}, and Dagster" in line
    assert f"write buckets = {BUCKETS} into {home / 'eventstore.toml'}" in line


def test_locks_are_told_of_also_where_the_number_differs(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, database_url: str, connection: Connection
) -> None:
    monkeypatch.delenv("EVENTSTORE_BUCKETS", raising=False)
    upgrade(database_url, buckets=256)
    if connection.execute("SELECT current_setting('max_locks_per_transaction')::int >= 1024").fetchone() == (
        True,
    ):
        pytest.skip("this server has room")
    lines = [line.split("\t") for line in cli("doctor").out.splitlines() if "doctor-buckets" in line]
    assert [(level, subject) for level, _, subject, *_ in lines] == [("warn", "buckets"), ("warn", "locks")]
    assert "ALTER SYSTEM SET max_locks_per_transaction = 1024" in lines[1][-1]
