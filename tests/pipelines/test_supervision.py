"""Processes that are kept running, the one ``make up`` of a home, and the log, without a Dagster."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from pipelines import only_one, supervision
from pipelines.database_watch import DatabaseWatch
from pipelines.log_file import LogFile, plain
from pipelines.supervision import Service, end_processes, marked


@pytest.fixture
def log(tmp_path: Path) -> LogFile:
    return LogFile(tmp_path / "dagster.log")


class Kept:
    """A service of a Python program, looked after until a condition holds."""

    def __init__(self, program: str, folder: Path, log: LogFile, *, answer: bool | None = True) -> None:
        self.said: list[str] = []
        self.service = Service(
            "toy",
            [sys.executable, "-c", program],
            lambda _: answer,
            patience=0.5,
            environment=os.environ | {"KEPT_IN": str(folder)},
            folder=folder,
            log=log,
            say=self.said.append,
        )

    def until(self, said: int) -> None:
        @retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.05), stop=stop_after_delay(60))
        def again() -> bool:
            self.service.keep()
            return len(self.said) >= said

        again()


def test_what_ends_is_started_again_with_growing_pauses(
    tmp_path: Path, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_PAUSE_S", 0.1)
    monkeypatch.setattr(supervision, "_LONGEST_PAUSE_S", 0.3)
    kept = Kept("import sys; print('\\x1b[32mhello\\x1b[0m'); sys.exit(3)", tmp_path, log, answer=False)
    began = time.monotonic()
    kept.until(said=4)
    assert time.monotonic() - began > 0.1 + 0.2 + 0.3
    assert kept.said[0].startswith("Dagster's toy ended (code 3); starting it again in ")
    assert kept.service.failed_starts == 4
    kept.service.end(0)
    assert (tmp_path / "dagster.log").read_text().splitlines()[0] == "hello"


def test_what_does_not_answer_is_ended_with_its_children(
    tmp_path: Path, log: LogFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_START_S", 3)
    program = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_DFL);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=False);"
        "time.sleep(600)"
    )
    kept = Kept(program, tmp_path, log, answer=False)
    kept.until(said=1)
    assert kept.said == ["Dagster's toy does not answer; starting it again in 1 s."]
    assert marked("KEPT_IN", str(tmp_path)) == []


def test_ending_insists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_END_S", 0.5)
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env=os.environ | {"KEPT_IN": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end_processes(lambda: marked("KEPT_IN", str(tmp_path)))
        assert marked("KEPT_IN", str(tmp_path)) == []


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the home folder."""
    program = (
        "import sys, time; from pathlib import Path; from pipelines import only_one\n"
        "with only_one.hold(Path(sys.argv[1]), 'http://here'): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_home_is_held_by_one_until_that_is_killed(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(only_one.AlreadyRunningError, match=rf"pid {holder.pid}, since .* UTC, http://here"):
        only_one.refuse_a_second(tmp_path)
    with (
        pytest.raises(only_one.AlreadyRunningError, match=f"pid {holder.pid}"),
        only_one.hold(tmp_path, "http://there"),
    ):
        pass
    holder.kill()
    holder.wait()
    only_one.refuse_a_second(tmp_path)
    with only_one.hold(tmp_path, "http://there"):
        pass


def test_asking_who_runs_makes_nothing(tmp_path: Path) -> None:
    only_one.refuse_a_second(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_log_is_appended_to_and_of_bounded_size_and_number(tmp_path: Path) -> None:
    path = tmp_path / "dagster.log"
    path.write_text("before\n")
    log = LogFile(path, size=1000, files=3)
    log.write("after\n")
    assert path.read_text() == "before\nafter\n"
    for number in range(1000):
        log.write(f"line {number}\n")
    found = sorted(tmp_path.iterdir())
    assert [one.name for one in found] == ["dagster.log", "dagster.log.1", "dagster.log.2"]
    assert all(one.stat().st_size <= 1000 for one in found)
    assert path.read_text().endswith("line 999\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[32m2026\x1b[0m - \x1b[1;34mINFO\x1b[0m [x]", "2026 - INFO [x]"),
        ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b[?25l\x1b(Bplain\x1b", "plain"),
        ("jörg ☃", "jörg ☃"),
    ],
)
def test_escape_sequences_are_left_out_of_the_log(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_an_outage_of_a_server_of_ones_own_is_said_once_and_so_is_its_end(
    database_url: str, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The database refuses connections and ends those that there are: as good as gone."""
    name = connection.info.dbname
    said: list[str] = []
    watch = DatabaseWatch(database_url, None, said.append)

    @retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.05), stop=stop_after_delay(30))
    def serving(*, is_serving: bool) -> bool:
        return watch.serving.is_set() is is_serving

    watch.start()
    try:
        with psycopg.connect(database_url, dbname="postgres", autocommit=True) as server:
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
            serving(is_serving=False)
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            serving(is_serving=True)
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
            )
    finally:
        watch.end()
    assert len(said) == 2
    assert said[0].startswith("The database is gone; waiting for it: ")
    assert "\n" not in said[0]
    assert said[1].startswith("The database serves again, after ")
