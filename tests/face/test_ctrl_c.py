"""Ctrl-C: one line says what is kept, whatever was under way; running it again goes on."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import typer

from eventstore.face.cli import app
from eventstore.face.cli.app import CANNOT_TELL
from eventstore.face.cli.stopping import STANDS, is_interrupt
from eventstore.log import connection as settings
from eventstore.server.backup import dump
from tests.buckets import BUCKETS, part
from tests.killing import until

Connection = psycopg.Connection[Any]
Cli = Callable[..., Any]
ORDER = "0198c2f4-7d5e-7000-8000-3c9b1e5d2a10"
#: A table that a command must wait for where it is locked, the command, and what it says when stopped.
WAITING: list[tuple[str, tuple[str, ...], str]] = [
    ("alembic_version", ("init",), "run it again: it goes on"),
    ("order_events", ("append", ORDER, "OrderShipped", "{}"), f"eventstore show {ORDER}"),
    ("rejects", ("rejects",), "nothing was changed"),
    ("rejects", ("rejects", "retry"), "nothing goes in twice"),
    ("rejects", ("rejects", "discard", "1", "--reason", "x"), "as a whole, or not at all"),
    ("orders", ("orders",), "nothing was changed"),
    ("order_events", ("show", ORDER), "nothing was changed"),
    ("order_events", ("history", ORDER), "nothing was changed"),
    ("order_events", ("tail",), "may be given the last events again"),
    ("consumers", ("consumers",), "nothing was changed"),
    ("settings", ("settings", "max_hold", "10 minutes"), "as a whole, or not at all"),
    ("projections", ("refresh",), "run it again to go on"),
    ("order_events", ("status",), "nothing was changed"),
    ("orders", ("promote",), "`eventstore promote` goes on"),
    ("orders", ("replay", "--continue"), "`eventstore promote` goes on"),
    ("projections", ("rebuild",), "`eventstore rebuild` goes on"),
    ("proofs", ("prove",), "`eventstore prove` goes on"),
    ("seal_trees", ("seal",), "`eventstore seal` goes on"),
    ("seal_tiles", ("verify",), "nothing was written"),
    ("seal_tiles", ("verify", "--share", "--json"), "nothing was written"),
    ("log_epochs", ("epochs",), "nothing was changed"),
    ("order_events", ("backup", "--dump", "--to", "BACKUPS"), "no backup was taken"),
    ("order_events", ("backup", "--to", "BACKUPS", "--dump", "--json"), "no backup was taken"),
]
COMMAND = [sys.executable, "-c", "from eventstore.face.cli import main; main()"]


def line() -> str:
    event: dict[str, Any] = {"specversion": "1.0", "id": str(uuid4()), "source": "/tests"}
    return json.dumps(event | {"type": "OrderShipped", "subject": str(uuid4()), "data": {}})


@pytest.fixture(autouse=True)
def here(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DATABASE_URL is set for the commands that are started as well; keys of seals are of this test."""
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.ndjson"
    path.write_text("".join(f"{line()}\n" for _ in range(100)))
    return path


def waits_for_a_lock(connection: Connection) -> bool:
    row = connection.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    return bool(row and row[0])


def stopped(
    database_url: str, connection: Connection, table: str, *arguments: object, mode: str = "SHARE"
) -> subprocess.CompletedProcess[str]:
    """Run a command until it waits for a table that another session has locked, and press Ctrl-C there.

    Nothing of it must go on in the server.
    """
    with psycopg.connect(database_url) as other:
        name = psycopg.sql.Identifier(table)
        other.execute(psycopg.sql.SQL("LOCK TABLE {} IN {} MODE").format(name, psycopg.sql.SQL(mode)))
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        until(lambda: waits_for_a_lock(connection))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        until(lambda: not waits_for_a_lock(connection))  # while the table is locked: it was not just let go
    return subprocess.CompletedProcess(list(map(str, arguments)), process.returncode, out, err)


@pytest.mark.parametrize(
    ("table", "arguments", "says"),
    [
        ("orders", ("refresh",), "run it again to go on"),
        ("order_history", ("refresh", "--json"), "run it again to go on"),
        (part("orders_candidate", 3), ("replay",), f"3 of {BUCKETS} buckets of orders stand"),
        (
            part("order_history_candidate", 2),
            ("replay", "--preview"),
            f"{BUCKETS} of {BUCKETS} buckets of orders, 2 of {BUCKETS} buckets of order_history stand",
        ),
    ],
)
def test_what_folds_the_log_says_what_is_kept(
    cli: Cli,
    database_url: str,
    connection: Connection,
    file: Path,
    table: str,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    cli("ingest", file)
    ran = stopped(database_url, connection, table, *arguments)
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr.count("\n") == 1
    assert ran.stderr.startswith("stopped: ")
    assert says in ran.stderr
    again = cli(*arguments, "--continue") if arguments[0] == "replay" else cli(*arguments)
    assert again.code == 0


def test_an_ingestion_goes_on_when_it_is_run_again(
    cli: Cli, database_url: str, connection: Connection, file: Path
) -> None:
    ran = stopped(database_url, connection, "order_events", "ingest", file)
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr == (
        "stopped: what was appended is kept; run it again: it goes on, and nothing goes in twice\n"
    )
    done = cli("ingest", file, "--json").json
    assert done["appended"] + done["duplicates"] == 100
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (100,)


@pytest.mark.parametrize(
    ("table", "mode", "arguments"),
    [
        ("order_events", "ACCESS EXCLUSIVE", ("check", "--all")),
        ("order_snapshots", "SHARE", ("snapshots", "build", "2020-01-01", "2030-01-01")),
    ],
)
def test_what_goes_in_one_step_says_that_it_begins_anew(
    cli: Cli,
    database_url: str,
    connection: Connection,
    file: Path,
    table: str,
    mode: str,
    arguments: tuple[str, ...],
) -> None:
    cli("ingest", file)
    cli("refresh")
    ran = stopped(database_url, connection, table, *arguments, mode=mode)
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr.startswith("stopped: ")
    assert ran.stderr.endswith("; run it again: it begins anew\n")
    assert cli(*arguments).code == 0


def test_every_command_has_words_for_it() -> None:
    def names(command: Any, path: str = "") -> set[str]:
        inner = getattr(command, "commands", {})
        below = {name for each in inner for name in names(inner[each], f"{path} {each}".strip())}
        by_itself = not inner or (path and command.invoke_without_command)
        return below | ({path} if by_itself else set())

    assert names(typer.main.get_command(app)) == set(STANDS)


def until_it_waits(cli: Cli, file: Path, table: str, arguments: tuple[str, ...]) -> None:
    """Bring about what the command finds something to do for."""
    if table == "seal_tiles":  # some tiles are full
        file.write_text("".join(f"{line()}\n" for _ in range(8_000)))
    cli("ingest", file)
    if table == "seal_tiles":
        assert cli("seal").code == 0
    if table == "orders" and arguments[0] != "orders":
        cli("replay", "--preview")


@pytest.mark.parametrize(("table", "arguments", "says"), WAITING)
def test_whatever_it_was_one_line_says_what_stands(
    cli: Cli,
    database_url: str,
    connection: Connection,
    file: Path,
    tmp_path: Path,
    table: str,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    until_it_waits(cli, file, table, arguments)
    to = tmp_path / "backups"
    given = tuple(str(to) if each == "BACKUPS" else each for each in arguments)
    ran = stopped(database_url, connection, table, *given, mode="ACCESS EXCLUSIVE")
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr.startswith("stopped: ")
    assert ran.stderr.count("\n") == 1
    assert says in ran.stderr.replace("ORDER_ID", ORDER)
    assert [path for path in to.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("table", "arguments"), [(table, given) for table, given, _ in WAITING if given[0] != "backup"]
)
def test_whatever_waits_in_vain_says_who_holds_it_in_one_line(
    cli: Cli,
    database_url: str,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    arguments: tuple[str, ...],
) -> None:
    until_it_waits(cli, file, table, arguments)
    monkeypatch.setitem(settings._SETTINGS, "lock_timeout", "'300ms'")
    with psycopg.connect(database_url) as other:
        name = psycopg.sql.Identifier(table)
        other.execute(psycopg.sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(name))
        holder = other.info.backend_pid
        ran = cli(*arguments)
    assert ran.code == (CANNOT_TELL if arguments[0] == "verify" else 1)
    assert f"SELECT pg_terminate_backend({holder})" in ran.err
    assert ran.err.count("\n") == 1


def test_a_dump_that_waits_in_vain_says_how_to_find_out_who_holds_the_table(
    cli: Cli, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_LOCK_WAIT_S", 1)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE order_events IN ACCESS EXCLUSIVE MODE")
        ran = cli("backup", "--dump", "--to", tmp_path / "backups")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "waited 1 seconds for a table that another session has locked; `eventstore status`" in ran.err
    assert [path for path in (tmp_path / "backups").rglob("*") if path.is_file()] == []


def around(error: BaseException) -> list[BaseException]:
    """Errors that lead to ``error``, each in another way, and round in a circle."""
    first, second, third = ValueError(), ValueError(), ValueError()
    first.__cause__, first.__context__ = second, error
    second.__cause__, second.__context__ = first, third
    third.__context__ = third
    return [first, second]


def test_the_reason_for_an_error_is_found_on_every_way_and_looked_for_once() -> None:
    assert all(map(is_interrupt, around(KeyboardInterrupt())))
    assert not any(map(is_interrupt, around(OSError())))


def test_a_fold_under_way_is_left_without_a_word_of_the_driver(
    cli: Cli, connection: Connection, file: Path
) -> None:
    file.write_text("".join(f"{line()}\n" for _ in range(20_000)))
    cli("ingest", file)
    process = subprocess.Popen(
        [*COMMAND, "replay"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: connection.execute("SELECT count(*) FROM replay_buckets").fetchone() != (0,))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (130, "", 1)
    assert err.startswith("stopped: ")
    assert cli("replay", "--continue").code == 0
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (20_000,)
