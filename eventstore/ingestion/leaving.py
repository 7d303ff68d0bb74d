"""Files that were read leave the landing folder, and the database knows where they went."""

from collections.abc import Sequence
from pathlib import Path

from eventstore.ingestion.addresses import shown
from eventstore.ingestion.contents import keep_moves, standings
from eventstore.ingestion.files import Elsewhere, printable
from eventstore.ingestion.moving import FAILED, Moved, ReadFile, done_today, move, reason_of
from eventstore.ingestion.remote import RemoteFile, move_remote
from eventstore.log.connection import Connection


def lies_in(file: Path | Elsewhere, folder: Path | str) -> bool:
    """Whether it is moved from there. A link is not: it may lead from anywhere."""
    if isinstance(file, Path):
        return (
            isinstance(folder, Path) and file.parent.resolve() == folder.resolve() and not file.is_symlink()
        )
    return isinstance(folder, str) and printable(file).rpartition("/")[0] == shown(folder).rstrip("/")


def leave(
    connection: Connection, folder: Path | str, files: Sequence[ReadFile]
) -> tuple[list[Moved], list[str]]:
    """Move ``files``, which lie in ``folder`` and are recorded as read.

    What an older release read stays. Returns what became of each of the others, and sentences about those
    that had been moved before.
    """
    known = standings(connection, {file.version for file in files})
    files = [file for file in files if file.version in known]
    if not files:
        return [], []
    try:
        moved = move(folder, files) if isinstance(folder, Path) else [_move_there(file) for file in files]
    except OSError as error:
        moved = [Moved(file, problem=error.strerror or str(error)) for file in files]
    keep_moves(
        connection,
        {
            each.file.version: (printable(each.to) if each.to else None, each.problem)
            for each in moved
            if each.to or each.problem
        },
    )
    return moved, [
        f"{printable(each.file.path)} was put back: it went to {before} when it was read; it is moved again"
        for each in moved
        if each.to and (before := known[each.file.version].moved_to)
    ]


def _move_there(file: ReadFile) -> Moved:
    assert isinstance(file.path, RemoteFile)
    folder, reason = (FAILED, reason_of(file)) if file.damage else (done_today(), None)
    return Moved(file, *move_remote(file.path, folder, file.sha256, reason))
