"""The archive of the write-ahead log: received from the server as it is written, by pg_receivewal."""

import gzip
import re
import shutil
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from eventstore.server import cluster
from eventstore.server.backup import catalogue, programs
from eventstore.server.backup.base_backup import identity
from eventstore.server.databases import CONNECT_TIMEOUT_S, cannot_connect
from eventstore.server.errors import ServerError

#: The server keeps for us what we have not received, up to this much, and then goes on without us.
SLOT = "eventstore_backup"
MAX_KEPT = "8GB"

#: Of the write-ahead log, in bytes: a page, its head, and that of the first page of a segment.
_PAGE, _PAGE_HEAD, _FIRST_HEAD = 8192, 24, 40

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})(\.gz|\.partial)?")
_HISTORY = re.compile(r"[0-9A-F]{8}\.history")


class Segment(NamedTuple):
    """A file of the archive: its place in the log, in units of its size, and whether it was cut short."""

    number: int
    is_partial: bool
    path: Path

    @property
    def name(self) -> str:
        """As the server calls it."""
        return self.path.name.removesuffix(".gz").removesuffix(".partial")


def prepare(url: str, backups: Path) -> Path:
    """Make ready what `receive_command` needs, on the server too; returns the folder of the archive.

    Raises ServerError where the server or the role does not allow it.
    """
    folder = backups / identity(url).generation / catalogue.WAL
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ServerError(f"cannot write to the folder of backups {folder}: {error.strerror}") from None
    with _connected(url) as connection:
        slot = connection.execute(
            "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = %s", (SLOT,)
        ).fetchone()
        if slot == (True,):  # it kept as much as it may, so there is a gap: the next base backup closes it
            connection.execute("SELECT pg_drop_replication_slot(%s)", (SLOT,))
        if slot != (False,):
            connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (SLOT,))
    return folder


def receive_command(url: str, folder: Path) -> tuple[list[str | Path], dict[str, str]]:
    """The program that receives the log until it is stopped or the server goes away, and its environment."""
    conninfo, environment = programs.connection(url)
    command: list[str | Path] = [cluster.program("pg_receivewal"), "--dbname", conninfo, "--no-password"]
    command += ["--directory", folder, "--slot", SLOT, "--no-loop", "--status-interval", "5"]
    return command, environment


def keep_no_more(url: str) -> bool:
    """Tell the server that nobody receives its log any more; whether it kept any for us."""
    with suppress(psycopg.Error, ServerError), _connected(url) as connection:
        return bool(
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                "WHERE slot_name = %s AND NOT active",
                (SLOT,),
            ).fetchall()
        )
    return False


def bound_what_is_kept(url: str) -> None:
    """Of a server of ours: an archive that cannot be written must not fill its disk."""
    with _connected(url) as connection:
        connection.execute(
            sql.SQL("ALTER SYSTEM SET max_slot_wal_keep_size = {}").format(sql.Literal(MAX_KEPT))
        )
        connection.execute("SELECT pg_reload_conf()")


def segments(folder: Path, segment_bytes: int) -> list[Segment]:
    """The files of an archive in their order; of one that is there twice the complete one.

    Where a server took over, two histories have a segment of the same number.
    """
    per_file = 2**32 // segment_bytes
    found: dict[str, Segment] = {}
    for path in sorted(folder.glob("*")):
        match = _SEGMENT.fullmatch(path.name)
        if match is None:
            continue
        number = int(match[2], 16) * per_file + int(match[3], 16)
        segment = Segment(number, match[4] == ".partial", path)
        if segment.name not in found or found[segment.name].is_partial:
            found[segment.name] = segment
    return sorted(found.values())


def unbroken_from(folder: Path, lsn: str, segment_bytes: int) -> Sequence[Segment]:
    """The segments from the one with that place in the log on, up to the first gap."""
    next_number = segment_of(lsn, segment_bytes)
    unbroken: list[Segment] = []
    for segment in segments(folder, segment_bytes):
        if segment.number in {next_number - 1, next_number} and (unbroken or segment.number == next_number):
            unbroken.append(segment)
            next_number = segment.number + 1
    return unbroken


def goes_on_after(unbroken: Sequence[Segment], folder: Path, segment_bytes: int, lsn: str) -> bool:
    """Whether there is more behind the gap that ends them, or behind that place where there are none."""
    last = unbroken[-1].number if unbroken else segment_of(lsn, segment_bytes)
    found = segments(folder, segment_bytes)
    return bool(found) and found[-1].number > last


def _position(lsn: str) -> int:
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def segment_of(lsn: str, segment_bytes: int) -> int:
    return _position(lsn) // segment_bytes


def stage(segments: Sequence[Segment], archive: Path, target: Path) -> Segment | None:
    """Copy segments, and the histories of timelines, to where a server that recovers reads them.

    The base backup brought some of them: of one that was cut short, what holds more stays. The first that is
    damaged is returned, and neither it nor what comes after it is copied.
    """
    for path in archive.glob("*.history"):
        if _HISTORY.fullmatch(path.name):
            shutil.copyfile(path, target / path.name)
    for segment in segments:
        before = target / segment.name
        if segment.is_partial and before.exists() and _used(before) > _used(segment.path):
            continue
        copy = target / ".copy"
        try:
            _stage(segment.path, copy, segment.name)
            is_sound = not before.exists() or _begins_with(copy, before)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            is_sound = False
        if not is_sound:
            copy.unlink()
            return segment
        copy.replace(before)
    return None


def _begins_with(segment: Path, part: Path) -> bool:
    return segment.read_bytes().startswith(part.read_bytes().rstrip(b"\0"))


def unread_after(folder: Path, end: str, segment_bytes: int) -> Segment | None:
    """The first of the staged segments, all of one timeline, that recovery did not get to the end of.

    Recovery takes what it cannot read for the end of the log. ``end`` is where it stopped: behind it is
    nothing, or the beginning of one record that the server, or the receiver, had no time to finish.
    """
    at = _position(end)
    staged = {segment.number: segment for segment in segments(folder, segment_bytes)}
    number = next((one for one in sorted(staged, reverse=True) if _used(staged[one].path)), -1)
    if number < at // segment_bytes:
        return None
    used_up_to = number * segment_bytes + _used(staged[number].path)
    return staged.get(at // segment_bytes) if used_up_to > _cut_off_at(staged, at, segment_bytes) else None


def _cut_off_at(staged: dict[int, Segment], at: int, segment_bytes: int) -> int:
    """Where the record that begins ``at`` would end at most; its length is in its first four bytes."""
    if at % _PAGE == 0:
        at += _PAGE_HEAD if at % segment_bytes else _FIRST_HEAD
    segment = staged.get(at // segment_bytes)
    if segment is None:
        return at
    with segment.path.open("rb") as file:
        file.seek(at % segment_bytes)
        length = int.from_bytes(file.read(4), sys.byteorder)
    return at + length + (length // (_PAGE - _FIRST_HEAD) + 2) * _FIRST_HEAD


def _stage(source: Path, target: Path, name: str) -> None:
    try:
        if source.suffix == ".gz":
            with gzip.open(source) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
        else:
            shutil.copyfile(source, target)
    except FileNotFoundError:  # it was completed, or compressed, since we looked
        for complete in (name, f"{name}.gz"):
            if (again := source.with_name(complete)).exists():
                _stage(again, target, name)
                return
        raise
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise ServerError(f"the archive's file {source} cannot be read: {error}") from None


def _used(segment: Path) -> int:
    """Bytes before the zeros that a segment is filled with at first."""
    return len(segment.read_bytes().rstrip(b"\0"))


def compress(folder: Path) -> int:
    """Compress the complete segments; returns how many. Killed anywhere, it goes on the next time."""
    count = 0
    for path in sorted(folder.glob("*")):
        match = _SEGMENT.fullmatch(path.name)
        if match is None or match[4] is not None:
            continue
        packed = path.with_name(f".{path.name}.gz")  # pg_receivewal takes no notice of this name
        packed.touch(mode=0o600)
        with (
            path.open("rb") as source,
            packed.open("wb") as raw,
            gzip.GzipFile("", "wb", 1, raw, 0) as target,
        ):
            shutil.copyfileobj(source, target, 2**20)
        catalogue.sync(packed)
        packed.replace(folder / f"{path.name}.gz")
        path.unlink()
        count += 1
    return count


def _connected(url: str) -> psycopg.Connection[tuple[object, ...]]:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise ServerError(cannot_connect(error)) from None
