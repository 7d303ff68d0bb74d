"""Restore a base backup, and the log after it up to a moment, into a folder where there is no server yet."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import psutil

from eventstore.kernel.moments import moment
from eventstore.server import cluster, embedded
from eventstore.server.backup import base_backup, catalogue, wal_archive
from eventstore.server.backup.catalogue import Found
from eventstore.server.backup.private_server import Say, serving
from eventstore.server.backup.programs import server_folder
from eventstore.server.errors import ServerError

_STAGED = "restored_wal"
_END_S = 30
_ENDED_BEFORE = "recovery ended before configured recovery target was reached"

T = TypeVar("T")


class Restored(NamedTuple, Generic[T]):
    """What was restored, where, and what `settle` made of it."""

    backup: Found
    data: Path
    settled: T


def choose(backups: Path, to: datetime | None) -> Found:
    """The backup to go from: the newest that was finished before the moment. Raises ServerError."""
    found = catalogue.bases(backups)
    if not found:
        raise ServerError(f"there is no base backup in {backups}")
    before = [one for one in found if to is None or one.backup.finished_at <= to]
    if not before:
        raise ServerError(
            f"the oldest base backup in {backups} was finished at {_utc(found[0].backup.finished_at)}: "
            "no earlier moment can be restored"
        )
    return before[-1]


def restore(
    found: Found, home: Path, to: datetime | None, settle: Callable[[str], T], say: Say
) -> Restored[T]:
    """Make a data folder in ``home`` from a backup and the archived log: all of it, or ``to`` a moment.

    ``settle`` is given the URL of the database before anybody else can reach it. The folder gets its name at
    the end, so what was killed is done again from the start. Raises ServerError where there is a folder
    already, and where the log does not reach the moment.
    """
    data = home.resolve() / "postgres"
    server_folder(found.backup.server_version)  # without its programs nothing need be begun
    if later := catalogue.later_generation(found):
        say(f"warning: {later} is a later history without a base backup: nothing of it is restored")
    with embedded.exclusive(home):
        _refuse_full(data)
        unfinished = data.with_name("postgres.restoring")
        _remove_left_behind(unfinished)
        try:
            try:
                settled = _restore(found, unfinished, to, settle, say)
            except BaseException:
                shutil.rmtree(unfinished, ignore_errors=True)
                raise
            if data.exists():
                data.rmdir()
            unfinished.rename(data)
        except OSError as error:
            raise ServerError(f"cannot restore into {data}: {error}") from None
    return Restored(found, data, settled)


def _restore(found: Found, data: Path, to: datetime | None, settle: Callable[[str], T], say: Say) -> T:
    backup = found.backup
    data.mkdir(mode=0o700, parents=True)
    say(f"copying the backup of {_utc(backup.finished_at)} …")
    manifest = base_backup.read_manifest(found.folder)
    for _ in base_backup.verified(found.folder / "base.tar.gz", manifest, into=data):
        pass
    staged = data / _STAGED
    staged.mkdir()
    base_backup.extract(found.folder / "pg_wal.tar.gz", staged)
    archive = found.generation / catalogue.WAL
    segments = wal_archive.unbroken_from(archive, backup.end_lsn, backup.segment_bytes)
    if wal_archive.goes_on_after(segments, archive, backup.segment_bytes, backup.end_lsn):
        say("warning: the archived log has a gap: what came after it is not restored")
    if broken := wal_archive.stage(segments, archive, staged):
        say(_damaged(broken))
    (data / "recovery.signal").touch()
    (data / "standby.signal").unlink(missing_ok=True)
    for lock_file in data.glob(".s.PGSQL.*.lock"):  # of a socket that lies in the data folder
        lock_file.unlink()
    if not (data / "postgresql.conf").exists():  # of a server that keeps it elsewhere, as Debian's does
        (data / "postgresql.conf").write_text("")
    cluster.give_to_server(data)
    settings = {
        "restore_command": f'cp "{_STAGED}/%f" "%p"',  # within the data folder, whatever its name
        "recovery_target_action": "promote",
        "recovery_target_timeline": "latest",
    }
    if to is not None:
        settings["recovery_target_time"] = to.astimezone(UTC).isoformat()
    say(f"replaying {len(segments)} segments of the log …")
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serving(data, backup.server_version, backup.user, settings, say))
        except ServerError as error:
            if _ENDED_BEFORE in str(error) and to is not None:
                raise ServerError(
                    f"the archived log ends before {_utc(to)}: restore without --to all that there is, or to "
                    "an earlier moment"
                ) from None
            raise ServerError(f"the restored server gave up: {error}") from None
        if to is None and (unread := wal_archive.unread_after(staged, _end(data), backup.segment_bytes)):
            say(_damaged(unread))
        settled = settle(url(backup.database))
    shutil.rmtree(staged)
    return settled


def _damaged(segment: wal_archive.Segment) -> str:
    return (
        f"warning: the segment {segment.name} of the archived log is damaged: what came after its last good "
        "record is not restored"
    )


def _end(data: Path) -> str:
    """Where the recovery of a server that has taken over ended: the new timeline says where it begins."""
    newest = max((data / "pg_wal").glob("*.history"), key=lambda path: path.name)
    return newest.read_text().strip().splitlines()[-1].split("\t")[1]


def _remove_left_behind(data: Path) -> None:
    """What a restore that was killed has left, its server too."""
    processes = cluster.processes(data)
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=_END_S)
    shutil.rmtree(data, ignore_errors=True)


def _refuse_full(data: Path) -> None:
    try:
        is_full = data.exists() and any(data.iterdir())
    except OSError as error:
        raise ServerError(f"cannot look into {data}: {error.strerror}") from None
    if is_full:
        raise ServerError(
            f"there is a server in {data}: restore into another folder (--into), or stop that server and "
            "move the folder away"
        )


def _utc(at: datetime) -> str:
    return f"{moment(at)}"
