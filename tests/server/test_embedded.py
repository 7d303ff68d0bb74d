"""The embedded PostgreSQL: starts, shared starts, stops, crashes and odd folders."""

import json
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from eventstore.server import cluster, embedded
from eventstore.server.errors import ServerError

_PATIENCE_S = 60


def _folder() -> Path:
    return Path(mkdtemp(prefix="embedded-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))


@pytest.fixture
def empty_home() -> Iterator[Path]:
    """A folder for one server, in the folder of the test session."""
    home = _folder()
    yield home
    embedded.stop(home)


@pytest.fixture(scope="session")
def _stopped_server() -> Path:
    home = _folder()
    embedded.start(home)
    embedded.stop(home)
    return home


@pytest.fixture
def home(empty_home: Path, _stopped_server: Path) -> Path:
    """A folder with a server that has run before: a copy, which is faster than making one."""
    subprocess.run(["cp", "-a", _stopped_server / "postgres", empty_home], check=True)
    return empty_home


def _ask(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def _postmaster_pid(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split()[0])


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _kill(home: Path) -> None:
    """kill -9, and wait until the process is gone, or is a child of ours that nobody has waited for."""
    server = psutil.Process(_postmaster_pid(home))
    server.kill()
    _wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


def _start_in_processes(home: Path, count: int) -> list[Any]:
    """The URL and the server's start time, as found by each of ``count`` processes that start it at once."""
    program = """
import json, sys
from pathlib import Path
import psycopg
from eventstore.server import embedded
sys.stdin.readline()
url = embedded.start(Path(sys.argv[1]))
with psycopg.connect(url) as connection:
    print(json.dumps([url, str(connection.execute("SELECT pg_postmaster_start_time()").fetchone()[0])]))
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, home], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=_PATIENCE_S)[0] for process in processes]
    return [json.loads(answer) for answer in answers]


def test_starting_twice_gives_one_server(empty_home: Path) -> None:
    assert not embedded.is_running(empty_home)
    url = embedded.start(empty_home)
    pid = _postmaster_pid(empty_home)
    assert embedded.start(empty_home) == url
    assert _postmaster_pid(empty_home) == pid
    assert embedded.is_running(empty_home)
    assert _ask(url, "SELECT current_database()") == "eventstore"
    assert _ask(url, "SHOW server_version_num").startswith("18")
    assert _ask(url, "SHOW fsync") == "on"
    assert _ask(url, "SHOW listen_addresses") == ""


def test_processes_that_start_at_once_share_one_new_server_which_outlives_them(empty_home: Path) -> None:
    answers = _start_in_processes(empty_home, 4)
    assert len(answers) == 4
    assert len({tuple(answer) for answer in answers}) == 1
    assert embedded.is_running(empty_home)


def test_stopping_ends_the_server_and_keeps_the_data(home: Path) -> None:
    url = embedded.start(home)
    pid = _postmaster_pid(home)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with psycopg.connect(url) as open_connection:
        assert embedded.stop(home) is True
        with pytest.raises(psycopg.OperationalError):
            open_connection.execute("SELECT 1")
    assert not embedded.is_running(home)
    assert not psutil.pid_exists(pid)
    assert embedded.stop(home) is False
    assert _ask(embedded.start(home), "SELECT answer FROM kept") == 42


def test_stopping_what_never_started_does_nothing(tmp_path: Path) -> None:
    assert embedded.stop(tmp_path / "none") is False
    assert not (tmp_path / "none").exists()


def test_what_was_committed_survives_kill_9_of_the_server(home: Path) -> None:
    url = embedded.start(home)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (answer int)")
        connection.execute("CHECKPOINT")
        connection.execute("INSERT INTO kept VALUES (42)")
        _kill(home)
    assert not embedded.is_running(home)
    assert _ask(embedded.start(home), "SELECT answer FROM kept") == 42


def test_processes_that_start_at_once_after_a_crash_share_one_server(home: Path) -> None:
    embedded.start(home)
    _kill(home)
    assert len({tuple(answer) for answer in _start_in_processes(home, 4)}) == 1


def test_a_busy_process_of_a_killed_server_is_waited_for(home: Path) -> None:
    url = embedded.start(home)
    busy = threading.Event()

    def work() -> None:
        """A loop that never waits, so that it does not notice the death of its server at once."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.add_notice_handler(lambda _: busy.set())
            connection.execute("""
                DO $$
                DECLARE until timestamptz := clock_timestamp() + interval '1.5 s';
                BEGIN
                    RAISE NOTICE 'busy';
                    WHILE clock_timestamp() < until LOOP END LOOP;
                END $$""")

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        assert busy.wait(_PATIENCE_S)
        _kill(home)
        assert embedded.start(home) == url
        assert working.done()


@pytest.mark.parametrize("suspended", [False, True])
def test_what_lingers_of_a_killed_server_is_ended(home: Path, suspended: bool) -> None:
    """By a statement that never ends, or suspended: nobody could connect while it lasts."""
    url = embedded.start(home)
    busy = threading.Event()
    backends = []

    def work() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            backends.append(connection.info.backend_pid)
            connection.add_notice_handler(lambda _: busy.set())
            with suppress(psycopg.OperationalError):
                connection.execute("DO $$ BEGIN RAISE NOTICE 'busy'; LOOP END LOOP; END $$")

    with ThreadPoolExecutor() as pool:
        working = pool.submit(work)
        assert busy.wait(_PATIENCE_S)
        if suspended:
            psutil.Process(backends[0]).suspend()
        _kill(home)
        begin = time.monotonic()
        assert embedded.start(home) == url
        assert time.monotonic() - begin < 30
        working.result(_PATIENCE_S)


def test_a_stop_on_purpose_can_be_told_from_a_crash(home: Path) -> None:
    assert embedded.last_stop(home) == 0
    embedded.start(home)
    embedded.stop(home)
    first = embedded.last_stop(home)
    assert first > 0
    embedded.start(home)
    _kill(home)
    embedded.start(home)
    assert embedded.last_stop(home) == first
    embedded.stop(home)
    assert embedded.last_stop(home) > first


def test_the_log_of_the_server_is_of_bounded_size_while_it_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOG_BYTES", 2000)
    url = embedded.start(home)
    for number in range(30):
        with psycopg.connect(url) as connection, suppress(psycopg.Error):
            connection.execute(f"SELECT no_such_column_{number}, '{'x' * 100}'")
        embedded.bound_log(home)
    log, before = home / "postgres.log", home / "postgres.log.1"
    assert log.stat().st_size < 3000
    assert 2000 < before.stat().st_size < 3000
    assert "no_such_column_29" in log.read_text() + before.read_text()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no PostgreSQL, of the user who runs the embedded server."""
    user = pwd.getpwnam("pgserver").pw_uid if os.getuid() == 0 else None
    process = subprocess.Popen(["sleep", "600"], user=user)
    yield process
    process.kill()
    process.wait()


def test_a_pid_file_that_names_a_strangers_process_does_not_keep_the_server_down(
    home: Path, stranger: subprocess.Popen[bytes]
) -> None:
    url = embedded.start(home)
    _kill(home)
    pid = _postmaster_pid(home)
    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        lock_file = home / "postgres" / name
        lock_file.write_text(lock_file.read_text().replace(str(pid), str(stranger.pid), 1))

    assert not embedded.is_running(home)
    assert embedded.stop(home) is False
    assert stranger.poll() is None
    assert embedded.start(home) == url
    assert _ask(url, "SELECT 1") == 1
    assert stranger.poll() is None


def test_a_damaged_pid_file_does_not_keep_the_server_down(home: Path) -> None:
    for content in ("", "not a number\n", "12345\n/somewhere\n"):
        embedded.start(home)
        _kill(home)
        (home / "postgres" / "postmaster.pid").write_text(content)
        assert not embedded.is_running(home)
        assert _ask(embedded.start(home), "SELECT 1") == 1


def test_a_copy_of_a_home_folder_does_not_lead_to_the_server_of_the_original(home: Path) -> None:
    original = home / "original"
    copy = home / "copy"
    embedded.start(original)
    try:
        subprocess.run(["cp", "-a", original, copy], check=True)
        assert embedded.is_running(original)
        assert not embedded.is_running(copy)
        assert embedded.stop(copy) is False
        assert embedded.is_running(original)
    finally:
        embedded.stop(original)


def test_a_long_recovery_is_waited_for_by_all_who_come(home: Path) -> None:
    """Recovery is held up by a restore_command that waits for a file."""
    url = embedded.start(home)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET hot_standby = off")
        connection.execute(
            f"ALTER SYSTEM SET restore_command = 'while [ ! -e {home}/go ]; do sleep 0.05; done; false'"
        )
    _kill(home)
    (home / "postgres" / "recovery.signal").touch()

    def is_starting() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError as error:
            return "the database system is" in str(error)
        return False

    with ThreadPoolExecutor() as pool:
        first = pool.submit(embedded.start, home)
        try:
            _wait_until(is_starting)
            second = pool.submit(embedded.start, home)
            assert not embedded.is_running(home)
            assert not first.done()
            assert not second.done()
        finally:
            (home / "go").touch()
        assert first.result(_PATIENCE_S) == second.result(_PATIENCE_S) == url


@pytest.mark.parametrize(
    "folder",
    ["with space", "jörg ☃", "a,b", 'it\'s "quoted" $HOME `id` %41 &c', "/".join(["a deep folder"] * 20)],
    ids=["space", "unicode", "comma", "shell", "deep"],
)
def test_it_works_in_any_folder(empty_home: Path, folder: str) -> None:
    odd = empty_home / folder
    url = embedded.start(odd)
    socket_folder = Path(str(conninfo_to_dict(url)["host"]))
    try:
        assert _ask(url, "SHOW data_directory") == str(odd / "postgres")
        assert embedded.start(odd) == url
        assert subprocess.check_output([cluster.program("psql"), url, "-Atc", "SELECT 1"]) == b"1\n"
    finally:
        assert embedded.stop(odd) is True
    assert socket_folder == odd / "postgres" or not socket_folder.exists()


def test_a_link_to_the_home_folder_leads_to_the_same_server(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    assert embedded.start(link) == embedded.start(home)


def test_postgres_settings_in_the_environment_are_not_ours(
    empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5433")
    monkeypatch.setenv("PGDATA", "/nowhere")
    monkeypatch.setenv("PGUSER", "nobody")
    monkeypatch.setenv("PGDATABASE", "nothing")
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    monkeypatch.setenv("LANG", "xx_YY.UTF-8")
    url = embedded.start(empty_home)
    assert _ask(url, "SELECT upper('ä') || current_user") == "Äpostgres"
    assert embedded.start(empty_home) == url


def test_what_an_interrupted_first_start_left_behind_is_made_anew(empty_home: Path) -> None:
    (empty_home / "postgres.new").mkdir()
    (empty_home / "postgres.new" / "PG_VERSION").write_text("18\n")
    assert _ask(embedded.start(empty_home), "SELECT 1") == 1
    assert not (empty_home / "postgres.new").exists()


def test_a_database_dropped_by_hand_is_made_again(home: Path) -> None:
    with psycopg.connect(
        embedded.start(home).replace("/eventstore?", "/postgres?"), autocommit=True
    ) as server:
        server.execute("DROP DATABASE eventstore")
    assert _ask(embedded.start(home), "SELECT current_database()") == "eventstore"


def test_data_of_another_postgres_version_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match=r"PostgreSQL 16.*PostgreSQL 18.*DATABASE_URL"):
        embedded.start(tmp_path)
    assert [path.name for path in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


def test_a_home_that_cannot_be_written_is_one_line_that_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "home", Path("/proc/home")):
        with pytest.raises(ServerError, match="EVENTSTORE_HOME") as caught:
            embedded.start(home)
        assert str(home) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    embedded.start(home)
    embedded.stop(home)
    with (home / "postgres" / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = 'plenty'\n")
    with pytest.raises(ServerError, match=r"did not start.*postgres\.log") as caught:
        embedded.start(home)
    assert "\n" not in str(caught.value)


def test_too_many_connections_are_reported_as_such(home: Path) -> None:
    url = embedded.start(home)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET max_connections = 5")
        connection.execute("ALTER SYSTEM SET superuser_reserved_connections = 0")
        connection.execute("ALTER SYSTEM SET reserved_connections = 0")
        connection.execute("ALTER SYSTEM SET max_wal_senders = 0")
    embedded.stop(home)
    embedded.start(home)
    connections = []
    try:
        with suppress(psycopg.OperationalError):
            while True:
                connections.append(psycopg.connect(url))
        with pytest.raises(ServerError, match="too many clients"):
            embedded.start(home)
    finally:
        for connection in connections:
            connection.close()


def test_ctrl_c_in_the_terminal_that_started_it_does_not_stop_the_server(home: Path) -> None:
    """Ctrl-C signals the process group of the terminal's foreground job."""
    program = (
        "import sys, time; from pathlib import Path; from eventstore.server import embedded;"
        "embedded.start(Path(sys.argv[1])); print('up', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, home],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(_PATIENCE_S) != 0
    assert embedded.is_running(home)


def test_finding_a_running_server_takes_milliseconds(home: Path) -> None:
    embedded.start(home)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        embedded.start(home)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.05


def test_a_server_that_gave_up_its_recovery_and_stays_is_ended_and_started_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PostgreSQL 18 does when the process that recovers fails: its other processes are never told."""
    monkeypatch.setattr(embedded, "_STUCK_S", 1)
    url = embedded.start(home)
    server = psutil.Process(int((home / "postgres" / "postmaster.pid").read_text().split()[0]))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT n FROM generate_series(1, 300000) n")
        os.kill(connection.info.backend_pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and server.is_running():
        startup = [child for child in _children(server) if "startup" in _title(child)]
        if startup:
            startup[0].kill()
            break
    assert embedded.start(home) == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (300000,)


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return process.children()
    return []


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
