"""``make up`` with the embedded PostgreSQL: what dies is started again, and one runs for a home."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from threading import Thread
from typing import TypeVar
from uuid import UUID, uuid4

import psutil
import psycopg
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.server import embedded
from eventstore.server.backup import catalogue

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("dagster")]


FreePort = Callable[[], int]
T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float) -> T:
    again = retry(
        retry=retry_if_result(lambda value: not value), wait=wait_fixed(0.1), stop=stop_after_delay(seconds)
    )
    return again(condition)()


@dataclass
class Up:
    home: Path
    port: int
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def database(self) -> str:
        return f"postgresql://postgres@/eventstore?host={self.home / 'postgres'}&port=5432"

    def says(self, text: str, seconds: float = 60) -> str:
        """The first line that holds ``text`` and was not returned before."""
        until(lambda: any(text in line for line in self.lines), seconds)
        index = next(index for index, line in enumerate(self.lines) if text in line)
        return self.lines.pop(index)

    def child(self, argument: str) -> psutil.Process:
        def find() -> list[psutil.Process]:
            found = []
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    if argument in child.cmdline():
                        found.append(child)
            return found

        return until(find, 30)[0]


def start(home: Path, port: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pipelines.up", "--port", str(port), "--follow"),
            *("--backups", str(home / "backups")),
        ],
        cwd=home,
        env=environment | {"EVENTSTORE_HOME": str(home), "COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def up(base_environment: dict[str, str], free_port: FreePort) -> Iterator[Up]:
    home = Path(mkdtemp(prefix="up-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    port = free_port()
    running = Up(home, port, start(home, port, base_environment))

    def follow() -> None:
        assert running.process.stdout is not None
        for line in running.process.stdout:
            running.lines.append(line.rstrip("\n"))

    Thread(target=follow, daemon=True).start()
    try:
        running.says(f"http://127.0.0.1:{port}", 120)
        yield running
    finally:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(120)
        embedded.stop(home)


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split()[0])


def serves(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_killed_postmaster_serves_again_and_files_still_reach_the_table(
    up: Up, event_line: Callable[..., str]
) -> None:
    os.kill(postmaster(up.home), signal.SIGKILL)
    began = time.monotonic()
    until(lambda: serves(up.database), 30)
    assert time.monotonic() - began < 30
    up.says("PostgreSQL is gone")
    up.says("PostgreSQL serves again")

    order_id = uuid4()
    part = up.home / "dropped.part"
    part.write_text(event_line("OrderCreated", order_id) + "\n")
    part.rename(up.home / "landing" / "dropped.ndjson")
    find = "SELECT status FROM orders WHERE order_id = %s"
    with psycopg.connect(up.database, autocommit=True) as database:
        found = until(lambda: database.execute(find, (order_id,)).fetchall(), 90)
    assert found == [("Created",)]


def test_a_backup_is_taken_and_the_log_is_received_whoever_is_killed(up: Up) -> None:
    backups = up.home / "backups"
    until(lambda: list(backups.glob("*/base/*/backup.json")), 180)
    up.child("--slot").kill()
    up.says("The log archive ended (SIGKILL)")
    until(lambda: up.child("--slot").is_running(), 60)
    with psycopg.connect(up.database, autocommit=True) as connection:
        connection.execute(
            'SELECT append_events(gen_random_uuid(), \'[{"type": "OrderShipped", "data": {}}]\')'
        )
        row = connection.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
        assert row is not None

        def is_received() -> bool:
            found = connection.execute(
                "SELECT bool_or(write_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
            ).fetchone()
            return found == (True,)

        until(is_received, 60)
    until(lambda: (known := catalogue.known(backups)) is not None and UUID(known) >= row[0], 60)


def test_a_second_one_on_the_same_home_says_who_runs_and_changes_nothing(
    up: Up, base_environment: dict[str, str], free_port: FreePort
) -> None:
    before = sorted(path.name for path in up.home.iterdir())
    settings = (up.home / "dagster" / "dagster.yaml").stat().st_mtime_ns
    for port in (up.port, free_port()):
        second = start(up.home, port, base_environment)
        output, _ = second.communicate(timeout=60)
        assert second.returncode == 2
        assert output.startswith(f"error: make up runs already in {up.home}: pid {up.process.pid}, since 2")
        assert output.endswith(f" UTC, http://127.0.0.1:{up.port}\n")
        assert output.count("\n") == 1
    assert sorted(path.name for path in up.home.iterdir()) == before
    assert (up.home / "dagster" / "dagster.yaml").stat().st_mtime_ns == settings
    assert up.process.poll() is None


@pytest.mark.parametrize(
    ("argument", "name"), [("dagster_webserver", "web server"), ("dagster._daemon", "daemon")]
)
def test_a_killed_process_of_dagster_is_started_again(up: Up, argument: str, name: str) -> None:
    killed = up.child(argument)
    killed.kill()
    up.says(f"Dagster's {name} ended (SIGKILL); starting it again")
    until(lambda: up.child(argument).pid != killed.pid, 60)


def test_a_killed_follower_is_started_again_and_follows(up: Up) -> None:
    killed = up.child("refresh")
    killed.kill()
    up.says("The follower ended (SIGKILL); starting it again")
    until(lambda: up.child("refresh").pid != killed.pid, 60)
    order_id = uuid4()
    paid = '[{"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}]'
    with psycopg.connect(up.database, autocommit=True) as connection:
        connection.execute("SELECT append_events(%s, %s)", (order_id, paid))
        find = "SELECT status FROM orders WHERE order_id = %s"
        # Long before the schedule of every minute comes round at the latest.
        until(lambda: connection.execute(find, (order_id,)).fetchone() == ("Paid",), 60)


def test_the_log_of_dagster_has_no_escape_sequences(up: Up) -> None:
    log = (up.home / "dagster" / "dagster.log").read_bytes()
    assert b"SensorDaemon" in log
    assert b"\x1b" not in log


def test_stopping_the_server_on_purpose_stops_dagster_too_and_leaves_nothing(up: Up) -> None:
    family = psutil.Process(up.process.pid).children(recursive=True)
    assert embedded.stop(up.home)
    assert up.process.wait(90) == 0
    assert "stopped on purpose" in up.says("on purpose")
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    assert not embedded.is_running(up.home)
