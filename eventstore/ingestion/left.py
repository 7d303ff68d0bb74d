"""What is left in a landing folder and why: `status` and the check `files_left` look at the same."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from eventstore.ingestion.contents import not_moved
from eventstore.ingestion.files import Found, NotRead
from eventstore.ingestion.landing import Waiting, waiting
from eventstore.ingestion.places import can_move, look
from eventstore.kernel.incoming import Format
from eventstore.log.connection import Connection
from eventstore.log.settings import policy


class Left(NamedTuple):
    """No run is at work on what is ``late`` or ``failed``."""

    unread: list[Waiting]  #: all that was not read to its end, these two among them
    late: list[Waiting]  #: never tried, for longer than the setting `max_file_wait`
    failed: list[Waiting]  #: tried again after a pause
    stuck: list[tuple[Found, str]]  #: read, but not moved, and why
    skipped: list[NotRead]  #: names that are left alone


def left_in(connection: Connection, folder: Path | str, formats: Sequence[Format], *, moves: bool) -> Left:
    """Raises InputFileError where the folder cannot be looked at. ``moves``: what was read is to leave it."""
    seen = look(folder, formats, settled=True)
    unread = waiting(connection, seen.files)
    idle = [file for file in unread if not file.under_way]
    arrived_before = time.time() - policy(connection).max_file_wait.total_seconds()
    return Left(
        unread=unread,
        late=[file for file in idle if not file.attempts and file.found.changed_at < arrived_before],
        failed=[file for file in idle if file.attempts],
        stuck=not_moved(connection, seen.files) if moves and can_move(folder) else [],
        skipped=seen.skipped,
    )
