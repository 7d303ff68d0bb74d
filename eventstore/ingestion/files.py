"""Which files to read, and which of them were read before.

How to hand files over: write under another name, such as ``.orders.ndjson.tmp``, then rename.
"""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError

SUFFIXES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")

#: A file that was changed less long ago may still be being written.
_SETTLED_NS = 3 * 10**9


class InputFileError(EventStoreError):
    """A path that cannot be ingested."""


class FileVersion(NamedTuple):
    """A file as it was when it was read: the same name with another size or time is another version."""

    file: str
    size: int
    modified_ns: int


def expand(paths: Iterable[Path]) -> list[Path]:
    """The files that ``paths`` stand for, each once; of a folder all that can be ingested, by name.

    Raises InputFileError for the first path that is none.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise InputFileError(f"{path}: no permission to look into it")
            files.update(dict.fromkeys(_ingestible(path)))
        elif not path.exists():
            raise InputFileError(f"{path}: no such file or folder")
        elif not path.name.lower().endswith(SUFFIXES):
            raise InputFileError(f"{path}: the name must end with one of {', '.join(SUFFIXES)}")
        elif not path.is_file():
            raise InputFileError(f"{path}: not a regular file")
        else:
            files[path] = None
    for path in files:
        if not os.access(path, os.R_OK):
            raise InputFileError(f"{path}: no permission to read it")
    return list(files)


def files_waiting(connection: Connection, landing: Path) -> list[Path]:
    """The files of the folder ``landing`` that are complete and were not ingested yet, by name."""
    waiting = {}
    for path in _ingestible(landing) if landing.is_dir() else ():
        try:
            version = file_version(path)
        except FileNotFoundError:
            continue  # taken away meanwhile
        if (
            abs(time.time_ns() - version.modified_ns) >= _SETTLED_NS
        ):  # a time in the future is no reason to wait
            waiting[version] = path
    rows = connection.execute(
        "SELECT file, size, modified_ns FROM ingested_files WHERE file = ANY(%s)",
        ([version.file for version in waiting],),
    )
    for row in rows:
        waiting.pop(FileVersion(*row), None)
    return list(waiting.values())


def open_file(path: Path) -> BinaryIO:
    """Open a file that `expand` found. Raises InputFileError if it is gone or cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror}") from None


def file_version(path: Path, opened: int | None = None) -> FileVersion:
    """The version of the file at ``path``, which may be open under the descriptor ``opened``."""
    stat = path.stat() if opened is None else os.fstat(opened)
    name = os.fsencode(path.absolute()).decode(errors="replace")
    return FileVersion(name, stat.st_size, stat.st_mtime_ns)


def _ingestible(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file():
            yield path
