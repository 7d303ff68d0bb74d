"""What was read leaves the landing folder: for ``done/DATE``, or for ``failed`` with the reason beside it.

Nothing is overwritten, and only what was read is moved, however fast its name is given to another file: a
file is first taken into ``.moving``, where nobody else touches it, then looked at, then given its place. What
a process that was killed left there goes back to where it came from.
"""

import errno
import fcntl
import hashlib
import itertools
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from eventstore.ingestion.files import Elsewhere, FileVersion, printable, version_of
from eventstore.kernel.moments import moment

DONE, FAILED = "done", "failed"

_TAKEN = ".moving"
REASON = ".reason.txt"
#: Bytes of a name, as most file systems have it.
_LONGEST = 255


class ReadFile(NamedTuple):
    """A file that was read to its end, as it was then."""

    path: Path | Elsewhere
    version: FileVersion
    inode: tuple[int, int] | None  #: None: not on this machine
    sha256: bytes
    damage: str | None = None  #: why it could not be read whole


class Moved(NamedTuple):
    """What became of a file. Neither a place nor a problem: it is gone, or there is another by now."""

    file: ReadFile
    to: Path | str | None = None
    problem: str | None = None


def done_today() -> str:
    """Where in its folder goes what is read today."""
    return f"{DONE}/{datetime.now(UTC):%Y-%m-%d}"


def move(folder: Path, files: Sequence[ReadFile]) -> list[Moved]:
    """Move ``files``, which lie in ``folder``, to where they belong. What cannot be moved stays."""
    with _nobody_else_in(folder):
        moved = [_move(folder, file) for file in files]
        _tidy(folder)
    return moved


def put_back(folder: Path) -> None:
    """Put what a move that was broken off has taken back into ``folder``, as far as that is possible."""
    if (folder / _TAKEN).is_dir():
        with _nobody_else_in(folder):
            for path in _taken(folder):
                with suppress(OSError):
                    _put_back(path, folder)
            _tidy(folder)


def is_broken_off(folder: Path) -> bool:
    """Whether a process ended while it moved something."""
    if not _taken(folder):
        return False
    try:
        with _nobody_else_in(folder, wait=False):
            return bool(_taken(folder))
    except BlockingIOError:
        return False  # it is at it


def _move(folder: Path, file: ReadFile) -> Moved:
    place = folder / (FAILED if file.damage else done_today())
    taken = folder / _TAKEN / file.path.name
    try:
        place.mkdir(parents=True, exist_ok=True)
        taken.parent.mkdir(exist_ok=True)
        if os.path.lexists(taken):
            return Moved(file, problem=f"{printable(taken)} is in the way")
        Path(file.path).rename(taken)
    except FileNotFoundError:
        return Moved(file)
    except OSError as error:
        return Moved(file, problem=_because(error))
    problem = None
    try:
        if _is(taken, file):
            return Moved(file, _give_place(taken, file, place))
    except OSError as error:
        problem = _because(error)
    try:
        _put_back(taken, folder)
    except OSError as error:
        problem = f"{_because(error)}; it is now {printable(taken)}"
    return Moved(file, problem=problem)


def _give_place(taken: Path, file: ReadFile, place: Path) -> Path:
    """The first free name there. Where the very same content has a name already, one of them is enough."""
    room = len(REASON) if file.damage else 0
    for name in names(file.path.name, file.sha256.hex()[:8], room):
        to, reason = place / name, place / (name + REASON)
        is_new = _reserve(to)
        if not (is_new or is_reserved(to.lstat())):
            if _has_content(to, file):
                taken.unlink()
                return to
            continue
        if file.damage and is_new and os.path.lexists(reason):  # its file was taken away: it is somebody's
            to.unlink()
            continue
        try:
            if file.damage:
                reason.write_text(reason_of(file), encoding="utf-8", errors="replace")
            _bring(taken, to)
        except OSError:
            with suppress(OSError):
                to.unlink(missing_ok=True)
                if file.damage:
                    reason.unlink(missing_ok=True)
            raise
        return to
    raise AssertionError("there is always another name")


def _reserve(path: Path) -> bool:
    """Make ``path``, empty and with no rights, so that a file may replace it. False: the name is taken."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    except FileExistsError:
        return False
    return True


def is_reserved(is_now: os.stat_result) -> bool:
    """Whether it is a name only, for the file that a move brings, or would have brought."""
    return stat.S_ISREG(is_now.st_mode) and is_now.st_size == 0 and stat.S_IMODE(is_now.st_mode) == 0


def _bring(taken: Path, to: Path) -> None:
    try:
        taken.replace(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(taken, to)
        taken.unlink()


def _copy(taken: Path, to: Path) -> None:
    """Onto another file system."""
    part = to.with_name(".part")
    try:
        with taken.open("rb") as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        shutil.copystat(taken, part)
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def _put_back(taken: Path, folder: Path) -> None:
    for name in names(taken.name):
        to = folder / name
        try:
            to.hardlink_to(taken)
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            if os.path.lexists(to):
                continue
            taken.rename(to)
        else:
            taken.unlink()
        return


def _is(path: Path, file: ReadFile) -> bool:
    is_now = path.lstat()
    version = version_of(file.version.file, is_now)
    return ((is_now.st_dev, is_now.st_ino), version) == (file.inode, file.version)


def _has_content(path: Path, file: ReadFile) -> bool:
    is_now = path.lstat()
    if not stat.S_ISREG(is_now.st_mode) or is_now.st_size != file.version.size:
        return False
    try:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest() == file.sha256
    except OSError:
        return False


def names(name: str, mark: str = "", room: int = 0) -> Iterator[str]:
    """``name``, then others like it, each short enough for the file system and ``room`` more bytes."""
    stem, ending = _split(name)
    for number in itertools.count():
        also = [mark] * bool(mark and number) + [str(number if mark else number + 1)] * (number > bool(mark))
        rest = "".join(f".{each}" for each in also) + ending
        longest = _LONGEST - room - len(os.fsencode(rest))
        yield _cut(stem, longest) + rest


def _split(name: str) -> tuple[str, str]:
    path = Path(name)
    ending = path.suffix
    if ending.lower() == ".gz":
        ending = Path(path.stem).suffix + ending
    return name[: len(name) - len(ending)], ending


def _cut(text: str, longest: int) -> str:
    """So many bytes of it at most, and no half character."""
    raw = os.fsencode(text)
    if len(raw) <= longest:
        return text
    return raw[: max(longest, 1)].decode(errors="ignore") or "_"


def reason_of(file: ReadFile) -> str:
    """What stands beside a file that failed."""
    return (
        f"{printable(file.path)} could not be read whole: {file.damage}\n"
        "What could be read of it is in the log. Deliver it again: nothing goes in twice.\n"
        f"Read {moment(datetime.now(UTC))}, sha256 {file.sha256.hex()}\n"
    )


def _taken(folder: Path) -> list[Path]:
    try:
        return sorted((folder / _TAKEN).iterdir())
    except OSError:
        return []


def _tidy(folder: Path) -> None:
    with suppress(OSError):
        (folder / _TAKEN).rmdir()


@contextmanager
def _nobody_else_in(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """One process at a time moves files of a folder: the lock ends with it, whatever ends it."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def _because(error: OSError) -> str:
    where = error.filename2 or error.filename
    return f"{error.strerror or error}" + (f": {printable(where)}" if where else "")
