"""Files that were moved out of the landing folder because they were read: does the database know them all?

A restore takes the database back, and the files stay where they are.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from eventstore.ingestion.files import printable
from eventstore.ingestion.moving import DONE, is_reserved
from eventstore.log.connection import Connection

_AT_ONCE = 1_000

_KNOWN = (
    "SELECT EXISTS (SELECT FROM ingested_files i WHERE (i.size, i.modified_ns) = (f.size, f.modified_ns)) "
    "FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS f (size, modified_ns, place) ORDER BY place"
)
_KNOWN_BY_CONTENT = "SELECT EXISTS (SELECT FROM ingested_files WHERE (size, sha256) = (%s, %s))"


class _Moved(NamedTuple):
    path: str
    size: int
    modified_ns: int


def count_done(landing: Path) -> int:
    """How many there are."""
    return sum(1 for _ in _moved(landing))


def files_unknown(connection: Connection, landing: Path) -> Iterator[tuple[int, list[str]]]:
    """Some at a time: how many were looked at, and which of them the database does not know.

    A file is known by its size and time, which it keeps when it is moved; else by its content: the same file
    delivered twice.
    """
    moved = _moved(landing)
    while some := list(islice(moved, _AT_ONCE)):
        unknown = _unknown(connection, some)
        yield (
            len(some),
            [printable(file.path) for file in unknown if not _is_known_by_content(connection, file)],
        )


def _unknown(connection: Connection, files: Sequence[_Moved]) -> list[_Moved]:
    known = connection.execute(_KNOWN, ([each.size for each in files], [each.modified_ns for each in files]))
    return [file for file, (is_known,) in zip(files, known, strict=True) if not is_known]


def _is_known_by_content(connection: Connection, file: _Moved) -> bool:
    with open(file.path, "rb") as opened:  # noqa: PTH123
        sha256 = hashlib.file_digest(opened, "sha256").digest()
    row = connection.execute(_KNOWN_BY_CONTENT, (file.size, sha256)).fetchone()
    return bool(row and row[0])


def _moved(landing: Path) -> Iterator[_Moved]:
    """Those in the folders of days."""
    if not (landing / DONE).is_dir():
        return
    with os.scandir(landing / DONE) as days:
        for day in days:
            if day.is_dir(follow_symlinks=False):
                with os.scandir(day.path) as files:
                    for file in files:
                        if file.is_file(follow_symlinks=False) and not file.name.startswith("."):
                            is_now = file.stat(follow_symlinks=False)
                            if not is_reserved(is_now):
                                yield _Moved(file.path, is_now.st_size, is_now.st_mtime_ns)
