"""The backup that is taken by the clock: when it is due, and all that goes with it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

from eventstore.kernel.moments import moment
from eventstore.server.backup import base_backup, catalogue, dump, wal_archive
from eventstore.server.backup.catalogue import Found
from eventstore.server.backup.prune import prune
from eventstore.server.errors import ServerError

#: In the night, UTC, between the snapshots of yesterday and the replay.
AT = time(2, 30)
_LOCK = "backup.lock"


class Taken(NamedTuple):
    """What a nightly backup did."""

    found: Found
    pruned: list[Path]
    why_a_dump: str | None  #: why the server was not copied as a whole


def why_due(url: str, backups: Path, now: datetime | None = None) -> str | None:
    """Why a backup should be taken now; None where the last one is good enough."""
    now = now or datetime.now(UTC)
    try:
        found = catalogue.bases(backups, generation=base_backup.identity(url).generation)
        is_broken = bool(found) and _has_gap(found[-1])
    except ServerError:
        found = [one for one in catalogue.all_of(backups) if one.backup.kind == "dump"]
        is_broken = False
    if not found:
        return "there is none of this server yet"
    if is_broken:
        return "the archived log has a gap after the last one"
    last_night = datetime.combine(now.date(), AT, UTC)
    last_night -= timedelta(days=1) if last_night > now else timedelta()
    return f"the last one is older than {moment(last_night)}" if _at(found[-1]) < last_night else None


def take(url: str, backups: Path, keep: timedelta) -> Taken | None:
    """Copy the server, or dump the database where it cannot be copied; delete what nobody needs any more.

    None where another process is at it. What is old goes only when the new one is there.
    """
    with _alone(backups) as is_alone:
        if not is_alone:
            return None
        why_a_dump = None
        try:
            base_backup.identity(url)
        except ServerError as error:
            why_a_dump = str(error)
        found = dump.take(url, backups) if why_a_dump else base_backup.take(url, backups)
        return Taken(found, prune(backups, keep), why_a_dump)


def _at(found: Found) -> datetime:
    return found.backup.started_at


def _has_gap(found: Found) -> bool:
    """Behind the newest backup: what was received later is of no use before the next one."""
    archive, backup = found.generation / catalogue.WAL, found.backup
    unbroken = wal_archive.unbroken_from(archive, backup.end_lsn, backup.segment_bytes)
    return wal_archive.goes_on_after(unbroken, archive, backup.segment_bytes, backup.end_lsn)


@contextmanager
def _alone(backups: Path) -> Iterator[bool]:
    """Whether no other process takes a backup into this folder; the lock goes with its holder."""
    try:
        backups.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(backups / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ServerError(f"cannot write to the folder of backups {backups}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)
