"""What is in a folder of backups.

A *generation* is one history of one server: it ends where a restore or a promotion begins another timeline.

    <system identifier>-<timeline>/base/<time>/   base backups, each with its backup.json
    <system identifier>-<timeline>/wal/           the write-ahead log since the first of them
    dumps/<time>/                                 dumps, each with its backup.json
    known.json                                    up to where the log was known to have events
"""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from eventstore.server.errors import ServerError

DUMPS = "dumps"
WAL = "wal"
_MANIFEST = "backup.json"
_UNFINISHED = ".new"


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One that was finished, and verified."""

    kind: Literal["base", "dump"]
    started_at: datetime
    finished_at: datetime
    server_version: int  #: the major one
    database: str
    user: str
    bytes: int
    # of a base backup:
    system_identifier: str = ""
    timeline: int = 0
    start_lsn: str = ""
    end_lsn: str = ""
    segment_bytes: int = 16 * 2**20
    # of a dump: SHA-256 of what pg_dump wrote (a person may edit the roles); older ones have none
    checksums: dict[str, str] = {}


class Found(msgspec.Struct, frozen=True):
    """A backup and where it is."""

    folder: Path
    backup: Backup

    @property
    def generation(self) -> Path:
        """Of a base backup."""
        return self.folder.parent.parent


class LastBackup(msgspec.Struct, frozen=True, kw_only=True):
    """The newest good backup, and how much of what came after it is archived."""

    kind: Literal["base", "dump"]
    at: datetime
    age_seconds: float
    archived_seconds_ago: float | None  #: when the archive got something last; None: there is no archive


def last_backup(folder: Path | None) -> LastBackup | None:
    """None where there is none."""
    found = max(all_of(folder), key=lambda one: one.backup.finished_at, default=None) if folder else None
    if found is None:
        return None
    now = datetime.now(UTC)
    archived = None
    if found.backup.kind == "base":
        received = _last_received(found.generation)
        archived = max(0.0, now.timestamp() - received) if received else None
    return LastBackup(
        kind=found.backup.kind,
        at=found.backup.finished_at,
        age_seconds=max(0.0, (now - found.backup.finished_at).total_seconds()),
        archived_seconds_ago=archived,
    )


def all_of(folder: Path) -> list[Found]:
    """The finished backups of a folder, oldest first, but for those that are `unreadable`."""
    found = [Found(path.parent, backup) for path in _finished(folder) if (backup := _read(path))]
    return sorted(found, key=lambda one: one.backup.finished_at)


def unreadable(folder: Path) -> list[Path]:
    """Files that should say what a backup is, and are damaged. One of them is no obstacle to the others."""
    return [path for path in _finished(folder) if _read(path) is None]


def _finished(folder: Path) -> list[Path]:
    manifests = [*folder.glob(f"*/base/*/{_MANIFEST}"), *folder.glob(f"{DUMPS}/*/{_MANIFEST}")]
    return sorted(path for path in manifests if not path.parent.name.endswith(_UNFINISHED))


def bases(folder: Path, *, generation: str | None = None) -> list[Found]:
    """The base backups, oldest first."""
    return [
        one
        for one in all_of(folder)
        if one.backup.kind == "base" and generation in {None, one.generation.name}
    ]


def generation_name(system_identifier: str, timeline: int) -> str:
    return f"{system_identifier}-{timeline}"


def later_generation(found: Found) -> Path | None:
    """A generation that was archived after that of a base backup, and has none of its own."""
    last = _last_received(found.generation)
    for wal in found.generation.parent.glob(f"*/{WAL}"):
        has_base = any(wal.parent.glob(f"base/*/{_MANIFEST}"))
        if wal.parent != found.generation and not has_base and _last_received(wal.parent) > last:
            return wal.parent
    return None


def _last_received(generation: Path) -> float:
    return max((file.stat().st_mtime for file in _files(generation / WAL)), default=0.0)


def begin(parent: Path, at: datetime) -> Path:
    """A folder for a backup that begins ``at``. It counts when `finish` has given it its name."""
    folder = parent / f"{at:%Y%m%dT%H%M%SZ}{_UNFINISHED}"
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ServerError(f"cannot write to the folder of backups {parent}: {error.strerror}") from None
    return folder


def finish(folder: Path, backup: Backup) -> Found:
    """Give a backup its name, when all of it is on the disk."""
    (folder / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(backup)))
    for path in [*_files(folder), folder]:
        sync(path)
    final = folder.with_name(folder.name.removesuffix(_UNFINISHED))
    if final.exists():
        raise ServerError(f"a backup of that second exists already: {final}")
    folder.rename(final)
    sync(final.parent)
    return Found(final, backup)


def abandon(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def know(folder: Path, epoch: int, event_id: str) -> None:
    """Remember outside of the database up to where the log has had events; ids after a restore lie above."""
    written = folder / f".known.{os.getpid()}"
    written.write_text(json.dumps({"epoch": epoch, "id": event_id}))
    written.replace(folder / "known.json")


def known(folder: Path) -> str | None:
    """The id that `know` was given last."""
    try:
        return str(json.loads((folder / "known.json").read_text())["id"])
    except (OSError, ValueError, LookupError):
        return None


def _read(path: Path) -> Backup | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Backup)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.is_file()]


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
