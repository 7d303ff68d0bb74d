"""``dagster.log``: what Dagster's processes print, appended, without colour codes, of bounded size."""

import re
from logging import Formatter, LogRecord, makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Thread
from typing import IO

_BYTES = 10 * 2**20
_FILES = 5
_LONGEST_LINE = 2**16
#: Colours and all else that ECMA-48 begins with ESC: CSI …, OSC …, and the short ones.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])?")


class LogFile:
    """A file and the ``files - 1`` before it, each of at most about ``size`` bytes."""

    def __init__(self, path: Path, *, size: int = _BYTES, files: int = _FILES) -> None:
        self._file = _Handler(path, maxBytes=size, backupCount=files - 1, encoding="utf-8", errors="replace")
        self._file.setFormatter(Formatter("%(message)s"))

    def follow(self, output: IO[bytes]) -> Thread:
        """Write what comes out of ``output`` until it ends, in a thread of its own."""
        thread = Thread(target=self._follow, args=(output,), daemon=True, name="dagster.log")
        thread.start()
        return thread

    def _follow(self, output: IO[bytes]) -> None:
        with output:
            for line in iter(lambda: output.readline(_LONGEST_LINE), b""):
                self.write(line.decode(errors="replace"))

    def write(self, line: str) -> None:
        """A line more."""
        self._file.handle(makeLogRecord({"msg": plain(line).rstrip("\r\n")}))


def plain(text: str) -> str:
    """Without escape sequences."""
    return _ESCAPE.sub("", text)


class _Handler(RotatingFileHandler):
    def handleError(self, record: LogRecord) -> None:  # noqa: N802 (the name is logging's)
        """On a full disk lines are lost; Dagster goes on."""
