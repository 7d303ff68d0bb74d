"""Run the tests of a part against a copy of the tree in which one file is changed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tests.mutants.entries import ROOT, Mutant

Verdict = Literal["killed", "SURVIVED", "explained", "BROKEN"]

_COPIED = (
    "eventstore",
    "pipelines",
    "tests",
    "docs",
    "README.md",
    "pyproject.toml",
    "workspace.yaml",
    "Makefile",
)
_FIRST_FAILURE = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.MULTILINE)
#: The mutant is no program, so whatever fails says nothing about the tests.
_NO_PROGRAM = re.compile(
    r"(psycopg\.errors\.|sqlalchemy\S*\()?\(?(psycopg\.errors\.)?"
    r"(SyntaxError|Undefined\w+|Ambiguous\w+|InvalidFunctionDefinition|DatatypeMismatch|NameError|ImportError)"
)
_STOP_S = 20.0


class Trial(msgspec.Struct, frozen=True):
    """What the tests said."""

    verdict: Verdict
    seconds: float
    by: str = ""  #: the test that failed, or what else was noticed
    output: str = ""


class Tree:
    """A copy of the repository, to be changed one mutant at a time."""

    def __init__(self, folder: Path) -> None:
        self._root = folder / "tree"
        self._root.mkdir()
        for name in _COPIED:
            source, target = ROOT / name, self._root / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)

    def unchanged(self, tests: Sequence[str], limit: float) -> Trial:
        """The tests must pass without any mutant."""
        code, seconds, output = self._run(tests, limit)
        return Trial("killed" if code == 0 else "BROKEN", seconds, output=output)

    def try_out(self, mutant: Mutant, limit: float) -> Trial:
        path = self._root / mutant.file
        text, stat = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(mutant.mutated(text), encoding="utf-8")
        try:
            code, seconds, output = self._run(mutant.tests, limit)
        finally:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # what was compiled is valid again
        if code == 0:
            return Trial("explained" if mutant.explained else "SURVIVED", seconds, output=output)
        if code is None:
            return Trial("killed", seconds, f"it hangs: stopped after {limit:.0f} s", output)
        failure = _FIRST_FAILURE.search(output)
        if code != 1 or failure is None or _NO_PROGRAM.match(failure[2] or ""):
            return Trial("BROKEN", seconds, f"pytest ended with {code}", output)
        return Trial("killed", seconds, failure[1].rpartition("::")[2], output)

    def _run(self, tests: Sequence[str], limit: float) -> tuple[int | None, float, str]:
        """The exit code of pytest, None if it had to be stopped; how long it took; what it said."""
        started = time.monotonic()
        environment = os.environ | {
            "PYTHONPATH": str(self._root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "300",
            "CI": "1",  # hypothesis tries the same examples each time
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--tb=short",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
        ]
        with subprocess.Popen(
            [*command, *tests],
            cwd=self._root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                return None, limit, _stopped(process)
            except BaseException:
                _stopped(process)
                raise
        return process.returncode, time.monotonic() - started, output


def _stopped(process: "subprocess.Popen[str]") -> str:
    """End the tests so that they stop their server, else with all that they started."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=_STOP_S)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0]
