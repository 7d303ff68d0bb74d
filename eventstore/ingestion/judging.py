"""What ingestion judges: rejects that nobody has settled, and files that were left in the landing folder."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from eventstore.ingestion.contents import not_moved
from eventstore.ingestion.files import InputFileError, printable
from eventstore.ingestion.landing import waiting
from eventstore.ingestion.places import can_move, look
from eventstore.ingestion.rejects import count_by_reason
from eventstore.kernel.counted import counted, lasting
from eventstore.kernel.incoming import Format
from eventstore.kernel.verdicts import Verdict
from eventstore.log.connection import Connection
from eventstore.log.settings import policy

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
        sentence=f"{counted(number, 'line')} wait{'s' if number == 1 else ''} to be settled: "
        f"{', '.join(first + more)}",
        next="eventstore rejects",
    )


def judge_landing(
    connection: Connection, folder: Path | str, formats: Sequence[Format], *, moves: bool = True
) -> Verdict:
    """Files that wait for longer than the setting `max_file_wait`, failed, stay though they were read, or are
    left alone.
    """
    try:
        seen = look(folder, formats, settled=True)
    except InputFileError as error:
        return Verdict(code="landing", level="fail", subject="landing", sentence=str(error))
    longest = policy(connection).max_file_wait.total_seconds()
    unread = waiting(connection, seen.files)
    now = time.time()
    failed = [file for file in unread if file.attempts and not file.under_way]
    late = [file for file in unread if not file.under_way and file.found.changed_at < now - longest]
    if failed:
        first = failed[0]
        return Verdict(
            code="landing-failed",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(failed), 'file')} failed and will be tried again, the first is "
            f"{printable(first.found.path.name)}: {printable(first.last_error or '?')}",
            next=f"eventstore ingest {printable(first.found.path)}",
        )
    if late:
        oldest = min(late, key=lambda file: file.found.changed_at)
        waits = lasting(timedelta(seconds=now - oldest.found.changed_at))
        return Verdict(
            code="landing",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(late), 'file')} nobody has read, the oldest for {waits}: "
            f"{printable(oldest.found.path.name)}",
            next=f"make up, or eventstore ingest {printable(folder)}",
        )
    stuck = not_moved(connection, seen.files) if moves and can_move(folder) else []
    if stuck:
        first_stuck, why = stuck[0]
        return Verdict(
            code="landing-not-moved",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(stuck), 'file')} that {'was' if len(stuck) == 1 else 'were'} read cannot "
            f"be moved, the first is {printable(first_stuck.path.name)}: {why}",
            next=f"eventstore ingest {printable(first_stuck.path)}",
        )
    if seen.skipped:
        first_name = seen.skipped[0]
        return Verdict(
            code="landing-skipped",
            level="warn",
            subject="landing",
            sentence=f"{counted(len(seen.skipped), 'name')} left alone, the first is {first_name.file}: "
            f"{first_name.reason}",
        )
    many = f"{counted(len(unread), 'file')} just came" if unread else "no file waits"
    return Verdict(code="landing", level="ok", subject="landing", sentence=many)
