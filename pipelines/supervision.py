"""Keeps a process running: starts it again when it ended or no longer answers, with growing pauses."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from pipelines.log_file import LogFile

_ASK_S = 5
_START_S = 180  # on a busy machine Dagster takes a minute to load
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STEADY_S = 300  # who has run this long starts anew with a short pause
_END_S = 15

Say = Callable[[str], None]


class _Process(subprocess.Popen[bytes]):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.started_at = time.time()
        super().__init__(*arguments, **options)


class Service:
    """A process in a session of its own: Ctrl-C reaches only us, and we stop it and its children in order.

    ``answers`` says whether it does its work, or None if that cannot be known just now; it is given the time
    at which the process was started. Without an answer for ``patience`` seconds, it is started anew.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        answers: Callable[[float], bool | None],
        *,
        patience: float,
        environment: Mapping[str, str],
        folder: Path,
        log: LogFile,
        say: Say,
        of: str = "Dagster's",
    ) -> None:
        self.name = name
        self._title = f"{of} {name}"
        self.answered = Event()
        #: How often it ended without ever having answered.
        self.failed_starts = 0
        self._command, self._answers, self._environment, self._folder = command, answers, environment, folder
        self._patience, self._log, self._say = patience, log, say
        self._process: _Process | None = None
        self._started_at = self._heard_at = self._due_at = 0.0
        self._pause = _PAUSE_S
        self._closed = Event()
        Thread(target=self._ask, daemon=True, name=f"health of the {name}").start()

    def keep(self, *, may_start: bool = True) -> None:
        """Look after it, a few times a second. Without ``may_start``, what ended waits."""
        now = time.monotonic()
        process = self._process
        if process is None:
            if may_start and now >= self._due_at:
                self._start()
        elif process.poll() is not None:
            self._rest(f"ended ({_reason(process.returncode)})")
        elif not may_start:
            self._heard_at = now  # it may have nothing to say while its database is away
        elif now - self._heard_at > (self._patience if self.answered.is_set() else _START_S):
            self._rest("does not answer")

    def interrupt(self) -> None:
        """Ask it to stop, in its own time."""
        self._closed.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def end(self, patience: float) -> None:
        """Wait for it for a while, then end it and all that it leaves behind."""
        self._closed.set()
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        end_processes(lambda: _members(self._process.pid) if self._process else [])
        self._process.wait()

    def _start(self) -> None:
        self.answered.clear()
        self._started_at = self._heard_at = time.monotonic()
        self._process = _Process(
            self._command,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert self._process.stdout is not None
        self._log.follow(self._process.stdout)

    def _rest(self, what: str) -> None:
        """End what is left of it, say so, and start it again after a pause."""
        assert self._process is not None
        end_processes(lambda: _members(self._process.pid) if self._process else [])
        self._process.wait()
        self._process = None
        now = time.monotonic()
        self.failed_starts += not self.answered.is_set()
        if now - self._started_at > _STEADY_S:
            self._pause = _PAUSE_S
        self._due_at = now + self._pause
        self._say(f"{self._title} {what}; starting it again in {self._pause:.0f} s.")
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_S)

    def _ask(self) -> None:
        while not self._closed.wait(_ASK_S if self.answered.is_set() else 0.2):
            process = self._process
            if process is None:
                continue
            answer = self._answers(process.started_at)
            if answer is False or process is not self._process:
                continue
            self._heard_at = time.monotonic()
            if answer:
                self.answered.set()
                self.failed_starts = 0


def end_processes(find: Callable[[], Sequence[psutil.Process]]) -> None:
    """End what ``find`` finds: ask, wait, insist. Asked again, it may find what was started meanwhile."""
    for ask in (psutil.Process.terminate, psutil.Process.kill, psutil.Process.kill):
        left = find()
        for process in left:
            with suppress(psutil.Error):
                ask(process)
        psutil.wait_procs(left, timeout=_END_S)


def marked(name: str, value: str) -> list[psutil.Process]:
    """The processes, other than this one, with that variable in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(name) == value:
                found.append(process)
    return found


def _members(session: int) -> list[psutil.Process]:
    """The living processes of a session, those too whose parent is gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _reason(code: int) -> str:
    if code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"code {code}"
