"""Which files there are to read, and which are better left alone.

How to hand files over: write under another name, such as ``.orders.ndjson.tmp``, then rename.
"""

import os
import stat
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from eventstore.ingestion.formats import by_suffix, suffix_of
from eventstore.kernel.incoming import Format
from eventstore.log.errors import EventStoreError

#: Bytes of a path: it is in indexes, whose entries PostgreSQL limits to 2,704 bytes.
MAX_PATH = 2000

#: A file that was changed less long ago may still be being written.
_SETTLED_NS = 3 * 10**9
_BIGINT = 2**63
_OUT = "a link that leads out of the folder"


class InputFileError(EventStoreError):
    """A path that cannot be ingested."""


class FileVersion(NamedTuple):
    """A file as it was when it was read: the same name with another size or time is another version."""

    file: str
    size: int
    modified_ns: int


class Elsewhere(Protocol):
    """A file that is on no file system of this machine. Its path is shown, never opened."""

    @property
    def name(self) -> str: ...
    def __fspath__(self) -> str: ...
    def open(self) -> tuple[BinaryIO, FileVersion]: ...


class Found(NamedTuple):
    """A file that can be read."""

    path: Path | Elsewhere
    format: Format  #: as its name says
    version: FileVersion
    changed_at: float  #: when it got its place or its content, by the clock of the file system
    folder: Path | None = None  #: where it was found; None: somebody named the file itself

    @property
    def weight(self) -> int:
        """How much there is to read, about: gzip makes events ten times smaller."""
        return self.version.size * (10 if self.path.name.lower().endswith(".gz") else 1)


class NotRead(NamedTuple):
    """A file that is left alone or could not be read, in words that can be printed."""

    file: str
    reason: str


class Look(NamedTuple):
    """What was found, by name."""

    files: list[Found]
    skipped: list[NotRead]


def expand(paths: Iterable[Path], formats: Sequence[Format]) -> Look:
    """The files that ``paths`` stand for, each once; of a folder all that can be ingested, by name.

    Raises InputFileError for the first path that is none.
    """
    files: dict[Path | Elsewhere, Found] = {}
    skipped: dict[NotRead, None] = {}
    for path in paths:
        found = _look_at(path, formats)
        for file in found.files:
            files.setdefault(file.path, file)
        skipped.update(dict.fromkeys(found.skipped))
    return Look(list(files.values()), list(skipped))


def look(
    folder: Path, formats: Sequence[Format], *, settled: bool = False, without: Container[FileVersion] = ()
) -> Look:
    """The files of ``folder`` that can be ingested, and those with such names that cannot.

    ``settled``: as a landing folder is read, where ``ingested_files`` decides: without files that may still
    be being written, and without names that are no UTF-8, of which two can look the same.
    ``without`` those: to build nothing for each of many thousand files that were read long ago.
    Raises InputFileError where the folder cannot be looked into; one that is not there has no files.
    """
    where, real = name_of(folder).rstrip("/"), os.path.realpath(folder)
    seen, suffixes = Look([], []), by_suffix(formats)
    newest = time.time_ns()
    for entry in _entries(folder, tuple(suffixes)):
        if not entry.name.isascii() and settled and not _is_utf8(entry.name):
            seen.skipped.append(NotRead(printable(entry.path), "its name is not UTF-8"))
            continue
        try:
            if entry.is_symlink() and not _leads_into(entry.path, real):
                seen.skipped.append(NotRead(printable(entry.path), _OUT))
                continue
            is_now = entry.stat()
        except FileNotFoundError:
            if entry.is_symlink():
                seen.skipped.append(NotRead(printable(entry.path), "a link that leads nowhere"))
            continue  # else taken away meanwhile
        except OSError as error:
            seen.skipped.append(NotRead(printable(entry.path), _because(error)))
            continue
        version = version_of(f"{where}/{_decoded(entry.name)}", is_now)
        if version in without:
            continue
        wrong = _wrong(is_now.st_mode, version.file)
        if wrong:
            seen.skipped.append(NotRead(printable(entry.path), wrong))
        # A time in the future is no reason to wait.
        elif not settled or abs(newest - is_now.st_mtime_ns) >= _SETTLED_NS:
            form = suffixes[suffix_of(entry.name, suffixes)]
            seen.files.append(Found(Path(entry.path), form, version, is_now.st_ctime, folder))
    seen.files.sort(key=lambda found: found.path.name)
    seen.skipped.sort()
    return seen


def open_file(found: Found) -> tuple[BinaryIO, FileVersion]:
    """Open a file, and the version that it has now.

    Raises InputFileError, or FileNotFoundError, if it is not what was found any more.
    """
    if not isinstance(found.path, Path):
        return found.path.open()
    path, flags = os.fspath(found.path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe would keep us
    try:
        if found.folder is not None:
            if not _leads_into(path, os.path.realpath(found.folder)):
                raise InputFileError(f"{printable(path)}: {_OUT}")
            path, flags = os.path.realpath(path), flags | os.O_NOFOLLOW
        opened = os.open(path, flags)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputFileError(f"{printable(path)}: {_because(error)}") from None
    is_now = os.fstat(opened)
    if not stat.S_ISREG(is_now.st_mode):
        os.close(opened)
        raise InputFileError(f"{printable(path)}: not a regular file any more")
    return os.fdopen(opened, "rb"), version_of(found.version.file, is_now)


def version_of(file: str, is_now: os.stat_result) -> FileVersion:
    return FileVersion(file, is_now.st_size, _bigint(is_now.st_mtime_ns))


def inode_of(file: BinaryIO) -> tuple[int, int] | None:
    """Which file of this machine it is, whatever it is called."""
    if not hasattr(file, "fileno"):
        return None
    is_now = os.fstat(file.fileno())
    return is_now.st_dev, is_now.st_ino


def is_settled(version: FileVersion) -> bool:
    """Whether the file changed long enough ago to be complete."""
    return abs(time.time_ns() - version.modified_ns) >= _SETTLED_NS


def name_of(path: Path) -> str:
    """The absolute path as the database has it."""
    return _decoded(path.absolute())


def printable(path: os.PathLike[str] | str) -> str:
    """A path for people: what is no character, or none that can be seen, as an escape sequence."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _look_at(path: Path, formats: Sequence[Format]) -> Look:
    try:
        is_now = path.stat()
    except FileNotFoundError:
        raise InputFileError(f"{printable(path)}: no such file or folder") from None
    except OSError as error:
        raise InputFileError(f"{printable(path)}: {_because(error)}") from None
    if stat.S_ISDIR(is_now.st_mode):
        return look(path, formats)
    suffixes = by_suffix(formats)
    suffix = suffix_of(path.name, suffixes)
    if not suffix:
        raise InputFileError(f"{printable(path)}: the name must end with one of {', '.join(suffixes)}")
    wrong = _wrong(is_now.st_mode, name_of(path))
    if wrong:
        raise InputFileError(f"{printable(path)}: {wrong}")
    if not os.access(path, os.R_OK):
        raise InputFileError(f"{printable(path)}: no permission to read it")
    version = version_of(name_of(path), is_now)
    return Look([Found(path, suffixes[suffix], version, is_now.st_ctime)], [])


def _entries(folder: Path, suffixes: tuple[str, ...]) -> Iterator["os.DirEntry[str]"]:
    """The entries whose names say that they are to be ingested."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(suffixes) and not entry.name.startswith("."):
                    yield entry
    except FileNotFoundError:
        return
    except PermissionError:
        raise InputFileError(f"{printable(folder)}: no permission to look into it") from None
    except OSError as error:
        raise InputFileError(f"{printable(folder)}: {_because(error)}") from None


def _leads_into(path: str, folder: str) -> bool:
    """Whether what ``path`` stands for is in ``folder``, a real path."""
    return os.path.realpath(path, strict=True).startswith(folder.rstrip("/") + "/")


def _wrong(mode: int, file: str) -> str | None:
    if stat.S_ISDIR(mode):
        return "a folder"
    if not stat.S_ISREG(mode):
        return "not a regular file"
    if len(file.encode()) > MAX_PATH:
        return f"its path has more than {MAX_PATH} bytes"
    return None


def _because(error: OSError) -> str:
    return error.strerror or str(error)


def _is_utf8(name: str) -> bool:
    try:
        os.fsencode(name).decode()
    except UnicodeDecodeError:
        return False
    return True


def _decoded(path: Path | str) -> str:
    if isinstance(path, str) and path.isascii():
        return path
    return os.fsencode(path).decode(errors="replace")


def _bigint(number: int) -> int:
    """The nearest number that a column of the database can hold: a file may claim to be of any year."""
    return max(-_BIGINT, min(_BIGINT - 1, number))
