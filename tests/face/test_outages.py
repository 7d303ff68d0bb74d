"""Outages: whatever is wrong with the database, the folder or the output, a command says so in a line."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from eventstore import OrderShipped, Store
from eventstore.face.cli.stopping import STANDS
from eventstore.server.urls import database_name
from tests.log.sessions import end_sessions

Cli = Callable[..., Any]
ORDER = UUID(int=5)
READS: dict[str, list[Any]] = {
    "show": [ORDER],
    "history": [ORDER],
    "status": [],
    "rejects": [],
    "promotion": [],
    "settings": [],
    "consumers": [],
    "orders": [],
    "orders --status": ["Lost"],
    "orders --anomaly": ["odd"],
    "quarantine": [],
    "epochs": [],
}
WRITES: dict[str, list[Any]] = {
    "append": [ORDER, "OrderShipped", "{}"],
    "ingest": ["FILE"],
    "refresh": [],
    "replay": [],
    "promote": [],
    "tail": [],
    "tail --consumer": ["billing"],
    "settings max_hold": ["10 minutes"],
    "rejects discard": [1, "--reason", "told by phone"],
    "consumers reset": ["billing", "--to", "beginning"],
    "consumers accept": ["billing"],
    "snapshots build": ["2026-01-01", "2026-01-02"],
    "rebuild": [],
    "seal": [],
    "horizon": [],
}
COMMANDS = READS | WRITES
BACKUPS = ["backup", "backup --dump"]
#: Those that need no database, or more than a database, or that say in their own way what they cannot do.
OTHERS = {
    *("url", "down", "alerts", "doctor", "seal-key", "verify-proof"),
    *("init", "restore", "check", "verify", "prove", "prove-consistency", "rollback"),
    *("rejects show", "rejects retry", "consumers delete", "epochs begin", "epochs declare"),
}


@pytest.fixture
def run(cli: Cli, store: Store, tmp_path: Path) -> Callable[[str], Any]:
    """Runs a command of COMMANDS on a store that has an event to read and a file to ingest."""
    store.append(ORDER, OrderShipped())
    file = tmp_path / "events.ndjson"
    file.write_text("no event\n")

    def run(command: str) -> Any:
        arguments = [file if argument == "FILE" else argument for argument in COMMANDS[command]]
        return cli(*command.split(), *arguments)

    return run


def one_line(ran: Any, code: int = 1) -> str:
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    return str(ran.err)


def alter(server_url: str, url: str, change: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("ALTER DATABASE {} " + change).format(sql.Identifier(database_name(url))))


@pytest.fixture
def clerk(database_url: str, connection: psycopg.Connection[Any]) -> Iterator[str]:
    """The database as a login without any rights sees it."""
    role = f"{database_name(database_url)}_clerk"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'")
    connection.execute(f"GRANT CONNECT ON DATABASE {database_name(database_url)} TO {role}")
    parts = urlsplit(database_url)
    yield urlunsplit(parts._replace(netloc=f"{role}:hush@{parts.netloc.rpartition('@')[2]}"))
    end_sessions(connection, role)
    connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_every_command_is_tried() -> None:
    given = [*COMMANDS, *BACKUPS]
    tried = {command for command in STANDS for each in given if f"{each} ".startswith(f"{command} ")}
    assert tried | OTHERS == set(STANDS)


@pytest.mark.parametrize("command", READS)
def test_who_may_read_may_run_what_reads(
    command: str,
    run: Cli,
    clerk: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection.execute(f"GRANT eventstore_reader TO {urlsplit(clerk).username}")
    monkeypatch.setenv("DATABASE_URL", clerk)
    ran = run(command)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("command", WRITES)
def test_a_database_that_takes_no_changes(command: str, run: Cli, server_url: str, database_url: str) -> None:
    alter(server_url, database_url, "SET default_transaction_read_only = on")
    assert "default_transaction_read_only" in one_line(run(command))


@pytest.mark.parametrize("command", READS)
def test_what_only_reads_works_where_nothing_can_be_changed(
    command: str, run: Cli, server_url: str, database_url: str
) -> None:
    alter(server_url, database_url, "SET default_transaction_read_only = on")
    ran = run(command)
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_role_without_rights(command: str, run: Cli, clerk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", clerk)
    assert "eventstore_reader" in one_line(run(command))


@pytest.mark.parametrize("command", [*COMMANDS, "init"])
def test_too_many_connections(
    command: str,
    run: Cli,
    cli: Cli,
    clerk: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection.execute(f"ALTER ROLE {urlsplit(clerk).username} CONNECTION LIMIT 0")
    monkeypatch.setenv("DATABASE_URL", clerk)
    assert "CONNECTION LIMIT" in one_line(cli("init") if command == "init" else run(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_was_not_set_up(
    command: str, run: Cli, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", new_database(migrated=False))
    assert "eventstore init" in one_line(run(command))


@pytest.mark.parametrize("command", BACKUPS)
def test_no_backup_is_taken_of_what_is_no_event_store(
    command: str, cli: Cli, new_database: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the URL names the wrong database, that must not come to light when the backup is needed."""
    monkeypatch.setenv("DATABASE_URL", new_database(migrated=False))
    assert "is not an event store yet" in one_line(cli(*command.split(), "--to", tmp_path / "backups"))
    assert [path for path in (tmp_path / "backups").rglob("*") if path.is_file()] == []


def test_who_may_not_dump_is_told_who_may(
    cli: Cli, clerk: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", clerk)
    said = one_line(cli("backup", "--dump", "--to", tmp_path / "backups"))
    assert "permission denied" in said
    assert "pg_read_all_data" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_database_that_is_not_there(
    command: str, run: Cli, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = database_name(database_url)
    monkeypatch.setenv("DATABASE_URL", database_url.replace(name, f"{name}_missing"))
    assert "`eventstore init`" in one_line(run(command))


@pytest.mark.parametrize("command", [*COMMANDS, "init"])
def test_a_server_that_does_not_answer(
    command: str, run: Cli, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ann:hush@127.0.0.1:1/shop")
    said = one_line(cli("init") if command == "init" else run(command))
    assert "check that PostgreSQL runs there" in said
    assert "hush" not in said


def test_an_encoding_that_lacks_characters_is_refused(
    cli: Cli, server_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{database_name(database_url)}_dagster"  # the fixtures drop it
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    monkeypatch.setenv("DATABASE_URL", database_url.replace(database_name(database_url), name))
    for command in ("init", "status"):
        assert "is encoded in LATIN1" in one_line(cli(command))


def test_a_session_that_is_ended_in_the_middle_loses_nothing_that_was_acknowledged(
    store: Store, connection: psycopg.Connection[Any]
) -> None:
    from eventstore import DatabaseUnavailableError  # noqa: PLC0415

    store.append(ORDER, OrderShipped())
    with (
        pytest.raises(DatabaseUnavailableError, match="what was acknowledged is recorded"),
        store.connection() as lent,
        lent.transaction(),
    ):
        lent.execute("SELECT append_events(%s, %s)", (ORDER, '[{"type": "OrderShipped", "data": {}}]'))
        connection.execute("SELECT pg_terminate_backend(%s)", (lent.info.backend_pid,))
        lent.execute("SELECT 1")
    assert [event.version for event in store.stream(ORDER)] == [1]
    assert store.append(ORDER, OrderShipped())[0].version == 2


def subprocess_of(url: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from eventstore.face.cli import main; main()", *arguments]
    environment = os.environ | {"DATABASE_URL": url}
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, **({"env": environment} | options))


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [["tail"], ["status", "--json"], ["status"], ["history", str(ORDER)]])
def test_a_disk_that_is_full_under_the_output(store: Store, command: list[str], unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    store.append(ORDER, OrderShipped())
    environment = os.environ | {"DATABASE_URL": store.url, "PYTHONUNBUFFERED": unbuffered}
    with (
        Path("/dev/full").open("w") as full,
        subprocess_of(store.url, *command, stdout=full, env=environment) as process,
    ):
        _, said = process.communicate()
    assert process.returncode == 1
    assert said == "error: cannot use standard output: No space left on device\n"


def test_a_reader_that_had_enough_is_no_news(store: Store) -> None:
    for _ in range(2000):  # more than a pipe holds
        store.append(ORDER, [OrderShipped()] * 5)
        if store.stream(ORDER)[-1].version >= 500:
            break
    with subprocess_of(store.url, "tail", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.stderr is not None
        said = process.stderr.read()
    assert (process.returncode, said) == (1, "")


def test_ctrl_c_ends_with_130_and_a_line(store: Store) -> None:
    import signal  # noqa: PLC0415

    store.append(ORDER, OrderShipped())
    with subprocess_of(store.url, "tail", "--follow", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.startswith("stopped: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("set_up", ["a file", "in a file"])
def test_a_home_that_is_no_folder(
    set_up: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.write_text("")
    monkeypatch.setenv("EVENTSTORE_HOME", str(home if set_up == "a file" else home / "folder"))
    assert "EVENTSTORE_HOME" in one_line(cli("init"))
    monkeypatch.delenv("DATABASE_URL")
    assert "EVENTSTORE_HOME" in one_line(cli("status"))
