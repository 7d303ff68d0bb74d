"""What ingestion judges: rejects that nobody has settled, damaged files, and files that were left behind."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from shlex import quote

from eventstore.ingestion.files import InputFileError, printable
from eventstore.ingestion.left import left_in
from eventstore.ingestion.rejects import count_by_reason, damaged_files
from eventstore.kernel.counted import counted, lasting
from eventstore.kernel.incoming import Format
from eventstore.kernel.verdicts import Verdict
from eventstore.log.connection import Connection

_REASONS = 3


def judge_rejects(connection: Connection) -> Verdict:
    counts = count_by_reason(connection)
    if not counts:
        return Verdict(
            code="rejects", level="ok", subject="rejects", sentence="every line is in the log or settled"
        )
    first = [f"{reason} {count:,}" for reason, count in list(counts.items())[:_REASONS]]
    more = ["…"] if len(counts) > _REASONS else []
    number = sum(counts.values())
    return Verdict(
        code="rejects",
        level="warn",
        subject="rejects",
        sentence=f"{counted(number, 'line waits', 'lines wait')} to be settled: {', '.join(first + more)}",
        next="eventstore rejects",
    )


def judge_damaged(connection: Connection) -> list[Verdict]:
    """Whether something is missing of a file because it was damaged, wherever it came from."""
    damaged = damaged_files(connection)
    if not damaged:
        return []
    file, reason, detail = damaged[0]
    return [
        Verdict(
            code="files-damaged",
            level="warn",
            subject="files",
            sentence=f"{counted(len(damaged), 'file is', 'files are')} damaged and read as far as it goes, "
            f"the first is {printable(file)}: {reason}: {detail}",
            next="have it delivered again, whole, under the same name",
        )
    ]


def judge_landing(
    connection: Connection, folder: Path | str, formats: Sequence[Format], *, moves: bool = True
) -> Verdict:
    """Files that wait for longer than the setting `max_file_wait`, failed, stay though they were read, or are
    left alone.
    """
    try:
        left = left_in(connection, folder, formats, moves=moves)
    except InputFileError as error:
        return Verdict(
            code="landing", level="fail", subject="landing", sentence=str(error), next="eventstore doctor"
        )
    if left.failed:
        first = left.failed[0]
        return Verdict(
            code="landing-failed",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(left.failed), 'file')} failed and will be tried again, the first is "
            f"{printable(first.found.path.name)}: {printable(first.last_error or '?')}",
            next=f"eventstore ingest {quote(printable(first.found.path))}",
        )
    if left.late:
        oldest = min(left.late, key=lambda file: file.found.changed_at)
        waits = lasting(timedelta(seconds=time.time() - oldest.found.changed_at))
        return Verdict(
            code="landing",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(left.late), 'file')} nobody has read, the oldest for {waits}: "
            f"{printable(oldest.found.path.name)}",
            next=f"make up, or eventstore ingest {quote(printable(folder))}",
        )
    if left.stuck:
        first_stuck, why = left.stuck[0]
        return Verdict(
            code="landing-not-moved",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(left.stuck), 'file that was read', 'files that were read')} cannot "
            f"be moved, the first is {printable(first_stuck.path.name)}: {why}",
            next=f"eventstore ingest {quote(printable(first_stuck.path))}",
        )
    if left.skipped:
        first_name = left.skipped[0]
        return Verdict(
            code="landing-skipped",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(left.skipped), 'name')} left alone, the first is {first_name.file}: "
            f"{first_name.reason}",
        )
    many = f"{counted(len(left.unread), 'file')} just came" if left.unread else "no file waits"
    return Verdict(code="landing", level="ok", subject="landing", sentence=many)
