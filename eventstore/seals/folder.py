"""Checkpoints in a folder outside of the database: a file each, written once, never replaced.

Made to be kept where the database's administrators cannot write: a git repository, a bucket with object lock.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from eventstore.seals.checkpoint import Signed, read_checkpoint
from eventstore.seals.errors import SealError
from eventstore.seals.note import NoteError

#: epoch-1/000000/000000017.note: no folder gets more than a thousand checkpoints.
_EPOCH = re.compile(r"epoch-([0-9]{1,9})", re.ASCII)
_THOUSAND = re.compile(r"([0-9]{6,15})", re.ASCII)
_NOTE = re.compile(r"([0-9]{9,18})\.note", re.ASCII)
_KEY = re.compile(r"key-([0-9]{4,9})\.note", re.ASCII)
_STAMP = ".tsr"
_LARGEST = 100_000


class Place(NamedTuple):
    """Where a checkpoint lies in a folder; what it says it is may be another thing."""

    epoch: int
    number: int
    path: Path


class Unreadable(NamedTuple):
    """A file whose name is that of a checkpoint, and which is none."""

    place: Place
    reason: str


class CheckpointFolder:
    """The folder; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def newest(self) -> Place | None:
        """The last checkpoint of the last epoch, without a look at all others; None where there is none."""
        return next(self.places(newest_first=True), None)

    def all(self) -> Iterator[Signed | Unreadable]:
        """All of them, epoch by epoch, the oldest first."""
        return map(self.read, self.places())

    def read(self, place: Place) -> Signed | Unreadable:
        text = _text(place.path)
        if text is None:
            return Unreadable(place, "it cannot be read, or is no text")
        try:
            signed = read_checkpoint(text)
        except NoteError as error:
            return Unreadable(place, str(error))
        if (signed.checkpoint.epoch, signed.checkpoint.number) != place[:2]:
            return Unreadable(place, f"it holds checkpoint {signed.checkpoint.number}: it was moved")
        return signed

    def write(self, signed: Signed) -> bool:
        """Keep a checkpoint, safe from a crash; False where it was there. What is there is never replaced,
        but for the beginning of this very file, which a crash left. Raises SealError for another one.
        """
        made = signed.checkpoint
        return self._write(self._path(made.epoch, made.number), signed.written.encode())

    def write_stamp(self, signed: Signed, reply: bytes) -> None:
        """Keep what a time stamp authority says of a checkpoint beside it."""
        made = signed.checkpoint
        _write_whole(self._path(made.epoch, made.number).with_suffix(_STAMP), reply)

    def write_key(self, number: int, note: str) -> bool:
        """Keep the introduction of a key."""
        return self._write(self.path / f"key-{number:04d}.note", note.encode())

    def key_notes(self) -> list[str]:
        """The introductions of keys, whatever they say."""
        return [text for _, path in _entries(self.path, _KEY) if (text := _text(path)) is not None]

    def _write(self, path: Path, content: bytes) -> bool:
        if path.exists():
            found = path.read_bytes()
            if found == content:
                return False
            if not content.startswith(found):
                raise SealError(_conflict(path, content.decode().partition("\n")[0], found))
        _write_whole(path, content)
        return True

    def _path(self, epoch: int, number: int) -> Path:
        return self.path / f"epoch-{epoch}" / f"{number // 1000:06d}" / f"{number:09d}.note"

    def places(self, *, newest_first: bool = False) -> Iterator[Place]:
        """Where checkpoints lie, epoch by epoch, the oldest first; none is read."""
        for epoch, folder in _entries(self.path, _EPOCH, newest_first):
            for _, thousand in _entries(folder, _THOUSAND, newest_first):
                for number, path in _entries(thousand, _NOTE, newest_first):
                    yield Place(epoch, number, path)


def _conflict(path: Path, log: str, found: bytes) -> str:
    other = found.partition(b"\n")[0].decode(errors="replace")
    if other != log and other.isprintable():
        return (
            f"{path} belongs to the log {other}, not to {log}, that of this database: name the home of this "
            "database in EVENTSTORE_HOME or, where the database was replaced on purpose, move the folder away"
        )
    return (
        f"{path} has another content than the database: a checkpoint of the same number was made elsewhere, "
        "or one of the two was changed; `eventstore verify` says which"
    )


def read_file(path: Path) -> Signed:
    """A checkpoint that somebody kept elsewhere. Raises SealError where the file is none."""
    try:
        return read_checkpoint(path.read_bytes()[:_LARGEST].decode())
    except UnicodeDecodeError:
        reason = "it is no text"
    except NoteError as error:
        reason = str(error)
    raise SealError(f"{path} is no checkpoint: {reason}")


def _entries(folder: Path, pattern: re.Pattern[str], newest_first: bool = False) -> list[tuple[int, Path]]:
    """What is in a folder under a name of that form, by its number."""
    try:
        paths = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [(int(match[1]), path) for path in paths if (match := pattern.fullmatch(path.name))]
    return sorted(found, reverse=newest_first)


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode()
    except (OSError, UnicodeDecodeError):
        return None


def _write_whole(path: Path, content: bytes) -> None:
    """Whoever finds the file finds all of it, also after a crash of the machine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
