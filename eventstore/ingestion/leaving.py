"""Files that were read leave the landing folder, and the database knows where they went."""

from collections.abc import Sequence
from pathlib import Path

from eventstore.ingestion.contents import keep_moves, standings
from eventstore.ingestion.files import printable
from eventstore.ingestion.moving import Moved, ReadFile, move
from eventstore.log.connection import Connection


def leave(connection: Connection, folder: Path, files: Sequence[ReadFile]) -> tuple[list[Moved], list[str]]:
    """Move ``files``, which lie in ``folder`` and are recorded as read.

    What an older release read stays. Returns what became of each of the others, and sentences about those
    that had been moved before.
    """
    known = standings(connection, {file.version for file in files})
    files = [file for file in files if file.version in known]
    if not files:
        return [], []
    try:
        moved = move(folder, files)
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
