"""A real PostgreSQL from a wheel, in the home folder, for everybody who has none.

It listens on a Unix socket only, outlives the process that started it, and stops on ``stop()``. Whether it
runs is found out by connecting: a pid file may be left from a crash and name a process of somebody else.
"""

import errno
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import psutil
import psycopg

from eventstore.server import cluster
from eventstore.server.databases import ensure_database
from eventstore.server.errors import ServerError

DATABASE = "eventstore"
LOG_BYTES = 10 * 2**20

_LINGERING_S = 30  # processes of a killed server may take this long to leave
_ASKED_S, _FORCED_S = 3, 8  # … without being told to, and without being made to
_STUCK_S = 10  # after a crash a server begins to recover at once
_SLOW_START_S = 10
_SLOW_STOP_S = 300
_LEAST_FREE = 2**20
_POLL_S = 0.02
_RETRY_S = 0.1

_log = logging.getLogger(__name__)
_started: list[subprocess.Popen[bytes]] = []  # a lost handle could neither be reaped nor kept quiet


def start(home: Path) -> str:
    """Start the server of ``home`` unless it runs, and return the URL of its database.

    Any number of processes may call this at once; where it runs already, it costs one connection. After a
    crash it waits for the recovery, however long that takes.
    """
    data = _data(home)
    bound_log(home)
    if _state(data, DATABASE) != "accepting":
        with exclusive(home) as lock:
            if _is_lost(data):
                raise ServerError(
                    f"the data folder {data} is gone: put it back, or restore a backup (`eventstore "
                    f"restore`); to begin anew, remove {_log_file(data)} too"
                )
            cluster.create(data, lock)
            _start_and_wait(data)
            ensure_database(_url(data, DATABASE))
    return _url(data, DATABASE)


def stop(home: Path) -> bool:
    """Stop the server of ``home``; False if none runs. Open transactions are rolled back."""
    data = _data(home)
    if _postmaster(data) is None:
        _note_stop(data)
        return False
    with exclusive(home):
        _note_stop(data)
        return _shut_down(data)


def restart(home: Path) -> None:
    """Let the server of ``home`` read settings that it takes at its start only. Open transactions are rolled
    back. It is no stop: who keeps the server running finds it gone for a moment, and waits.
    """
    data = _data(home)
    with exclusive(home):
        _shut_down(data)
        _start_and_wait(data)


def _shut_down(data: Path) -> bool:
    """End the server of a folder and wait for it; False if none runs. The caller holds the lock."""
    postmaster = _postmaster(data)
    if postmaster is None or not postmaster.is_alive():
        return False
    os.kill(postmaster.pid, signal.SIGINT)  # PostgreSQL's "fast shutdown"
    deadline = time.monotonic() + _SLOW_STOP_S
    while _pid_file(data).exists() and postmaster.is_alive():
        if time.monotonic() > deadline:
            raise ServerError(f"PostgreSQL in {data} is still stopping; see {_log_file(data)}")
        time.sleep(_POLL_S)
    cluster.remove_socket_folder(data)
    for process in _started:
        if process.pid == postmaster.pid:  # it removes its pid file a moment before it ends
            process.wait(_SLOW_STOP_S)
        process.poll()
    return True


def is_running(home: Path) -> bool:
    """Whether the server of ``home`` answers."""
    return _state(_data(home), "postgres") == "accepting"


def last_stop(home: Path) -> int:
    """Changes with every ``stop()``: who finds the server gone can tell a wish from an accident."""
    try:
        return _stop_file(_data(home)).stat().st_mtime_ns
    except OSError:
        return 0


def bound_log(home: Path) -> None:
    """Keep the server's log, and the part before, at about LOG_BYTES each. The server goes on writing."""
    log = _log_file(_data(home))
    with suppress(OSError, ServerError):
        if log.stat().st_size > LOG_BYTES:
            with exclusive(home):
                _bound(log)


def _bound(log: Path) -> None:
    """Copied and emptied, not renamed: the server holds the file open and appends to it."""
    if not log.exists() or log.stat().st_size <= LOG_BYTES:
        return
    old = log.with_suffix(".log.1")
    with suppress(OSError):  # on a full disk: emptying is what helps
        shutil.copyfile(log, old)
    os.truncate(log, 0)


def _is_lost(data: Path) -> bool:
    """Whether there was a server here. With an empty one in its place it would look as if nothing was."""
    return _log_file(data).exists() and not (data / "PG_VERSION").exists()


def _note_stop(data: Path) -> None:
    if data.exists():
        with suppress(OSError):
            _stop_file(data).touch()


def _stop_file(data: Path) -> Path:
    return data.with_name("postgres.stopped")


def _data(home: Path) -> Path:
    return home.resolve() / "postgres"


def _log_file(data: Path) -> Path:
    return data.with_name("postgres.log")


def _pid_file(data: Path) -> Path:
    return data / "postmaster.pid"


@dataclass(frozen=True)
class _Postmaster:
    """What a server wrote into its pid file. It may be long dead."""

    pid: int
    data: Path
    socket_folder: Path

    def is_alive(self) -> bool:
        """Whether that process is the server of that data folder: pids are given out again."""
        try:
            return str(self.data) in psutil.Process(self.pid).cmdline()
        except psutil.Error:
            return False


def _postmaster(data: Path) -> _Postmaster | None:
    try:
        pid, folder, _, _, socket_folder = _pid_file(data).read_text().splitlines()[:5]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        raise ServerError(
            f"{data} belongs to another user; set EVENTSTORE_HOME to a folder of yours"
        ) from None
    except ValueError:
        return None  # being written, or cut short by a crash
    if folder != str(data) or not socket_folder or not pid.isdecimal():
        return None  # a copied folder names the server of the original
    return _Postmaster(int(pid), data, Path(socket_folder))


def _url(data: Path, database: str) -> str:
    postmaster = _postmaster(data)
    if postmaster is None:
        raise ServerError(f"PostgreSQL in {data} was stopped just now; run this again")
    # The port is given because PGPORT in the environment would replace a default.
    return (
        f"postgresql://postgres@/{database}?host={quote(str(postmaster.socket_folder))}&port={cluster.PORT}"
    )


def _state(data: Path, database: str) -> Literal["accepting", "changing", "recovering", "absent"]:
    """Whether the server of this folder takes connections, starts or stops, recovers from the crash of a
    process, or is not there.
    """
    if _postmaster(data) is None:
        return "absent"
    try:
        with psycopg.connect(_url(data, database), connect_timeout=10) as connection:
            served = connection.execute("SHOW data_directory").fetchone()
    except psycopg.OperationalError as error:
        message = " ".join(str(error).split())
        if "the database system is" in message:  # starting up, shutting down, in recovery mode
            return "recovering" if "in recovery mode" in message else "changing"
        if "FATAL" not in message or "does not exist" in message:
            return "absent"
        raise ServerError(f"PostgreSQL in {data} refuses connections: {message}") from None
    return "accepting" if served == (str(data),) else "absent"


@contextmanager
def exclusive(home: Path) -> Iterator[int]:
    """One process at a time may start or stop the server. The lock goes when its holder dies."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = os.open(home / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ServerError(
            f"cannot write to {home} ({error.strerror}); set EVENTSTORE_HOME to a folder of yours, "
            "or DATABASE_URL to a PostgreSQL of yours"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _start_and_wait(data: Path) -> None:
    process: subprocess.Popen[bytes] | None = None
    log_start = 0
    begin = alive_at = time.monotonic()
    told = False
    while (state := _state(data, "postgres")) != "accepting":
        waited = time.monotonic() - begin
        if state == "absent" and (process is None or process.poll() is not None):
            if process is not None:
                _check_worth_retrying(data, log_start, waited)
                time.sleep(_RETRY_S)
            log_start = _log_file(data).stat().st_size if _log_file(data).exists() else 0
            process = _launch(data)
        if state != "recovering" or cluster.recovers(data):
            alive_at = time.monotonic()
        elif time.monotonic() - alive_at > _STUCK_S:
            _log.warning("PostgreSQL in %s gave up its recovery and stays like that; ending it", data)
            _end(data)
        if waited > _SLOW_START_S and not told:
            _log.warning("PostgreSQL in %s is starting, perhaps recovering from a crash; waiting", data)
            told = True
        time.sleep(_POLL_S)


def _end(data: Path) -> None:
    """kill -9 all processes of the server: the next one recovers from the log, as after any crash."""
    processes = cluster.processes(data)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    for started in _started:
        started.poll()
    psutil.wait_procs(processes, timeout=_LINGERING_S)


def _launch(data: Path) -> subprocess.Popen[bytes]:
    _drop_stale_lock_files(data)
    try:
        _bound(_log_file(data))
        with _log_file(data).open("ab") as log:
            process = cluster.launch(data, log)
    except OSError as error:
        raise ServerError(f"cannot start PostgreSQL in {data}: {error}") from None
    _started.append(process)
    return process


def _drop_stale_lock_files(data: Path) -> None:
    """PostgreSQL refuses to start while the pid in one of these is in use, by whatever program.

    Safe if other processes of the dead server still linger: their shared memory is found by the folder.
    """
    postmaster = _postmaster(data)
    if postmaster is None or not postmaster.is_alive():
        _pid_file(data).unlink(missing_ok=True)
        cluster.socket_lock_file(data).unlink(missing_ok=True)


def _check_worth_retrying(data: Path, log_start: int, waited: float) -> None:
    """Raise what the server said when it gave up, unless it may pass."""
    with _log_file(data).open("rb") as log:
        log.seek(log_start)
        lines = log.read().decode(errors="replace").splitlines()
    lingering = any("still in use" in line or "already exists" in line for line in lines)
    if lingering and waited < _LINGERING_S:
        _end_what_lingers(data, waited)
        return
    reasons = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
    is_full = shutil.disk_usage(data).free < _LEAST_FREE and not reasons
    if is_full or any(os.strerror(errno.ENOSPC) in line for line in lines):
        reasons = ["the disk is full"]
    reason = reasons[-1] if reasons else "it said nothing"
    if "contains errors" in reason:  # the line before says which
        reason = "; ".join(line.partition("LOG:")[2].strip() for line in lines if "LOG:" in line) or reason
    advice = "an old server process still uses the folder: end it" if lingering else f"see {_log_file(data)}"
    raise ServerError(f"PostgreSQL did not start in {data}: {reason} ({advice})")


def _end_what_lingers(data: Path, waited: float) -> None:
    """Processes of a dead server that do not see its death: a long statement, or one that was suspended.

    Nobody could connect while they last. To end them loses nothing: who is told to stop rolls back, and after
    a server that was killed the next one recovers from the log whatever became of its processes.
    """
    postmaster = _postmaster(data)
    if waited < _ASKED_S or (postmaster is not None and postmaster.is_alive()):
        return
    for process in cluster.processes(data):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL if waited > _FORCED_S else signal.SIGTERM)
