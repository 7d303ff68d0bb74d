"""What is older than anybody wants to go back to goes."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from eventstore.server.backup import catalogue, wal_archive
from eventstore.server.backup.catalogue import Found

#: So many are kept however old they are: what was taken last may turn out to be of no use.
_LEAST = 2


def prune(backups: Path, keep: timedelta) -> list[Path]:
    """Delete backups that are not needed to go back to any moment of the last ``keep``, and the log before.

    Returns the folders of the backups that went. The two newest base backups, and the two newest dumps, stay.
    """
    since = datetime.now(UTC) - keep
    found = catalogue.all_of(backups)
    gone: list[Found] = []
    for kind in ("base", "dump"):
        of_kind = [one for one in found if one.backup.kind == kind]
        older = [one for one in of_kind if one.backup.finished_at < since]
        # To a moment after `since` but before the next backup, one goes from the last backup before it.
        gone += [one for one in older[:-1] if one in of_kind[:-_LEAST]]
    for one in gone:
        shutil.rmtree(one.folder)
    for generation in {one.generation for one in found if one.backup.kind == "base"}:
        _prune_generation(backups, generation)
    return [one.folder for one in gone]


def _prune_generation(backups: Path, generation: Path) -> None:
    left = catalogue.bases(backups, generation=generation.name)
    if not left:  # its log leads nowhere
        shutil.rmtree(generation)
        return
    oldest = min(left, key=lambda one: wal_archive.segment_of(one.backup.start_lsn, one.backup.segment_bytes))
    first = wal_archive.segment_of(oldest.backup.start_lsn, oldest.backup.segment_bytes)
    for segment in wal_archive.segments(generation / catalogue.WAL, oldest.backup.segment_bytes):
        if segment.number < first:
            segment.path.unlink(missing_ok=True)
