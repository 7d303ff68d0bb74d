"""Who reads which file of a landing folder, and when one is tried again. The table ``landing_files`` decides.

A run *claims* files, so that two runs do not read the same ones; a claim that is not renewed lapses. It
*begins* a file before it opens it, and commits that: where the file ends the process, an attempt failed.
Files that failed before are read alone, after the others and after growing pauses; so are very large ones.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec

from eventstore.ingestion.files import FileVersion, Found, NotRead
from eventstore.ingestion.places import look
from eventstore.kernel.incoming import Format
from eventstore.log.connection import Connection

#: What one run takes: so many files, or so many bytes of them, of gzip a tenth.
RUN_FILES = 2000
RUN_BYTES = 1 << 30

#: After the first, second … attempt that failed; after the last of these each time.
PAUSES = [timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15), timedelta(minutes=60)]

#: A claim holds so long after it was made or renewed.
LEASE = timedelta(seconds=60)

#: Of so many files at a time it is asked how they stand.
_LOOK_UP = 10_000
_BROKEN_OFF = "the process that read it ended in the middle"
_KEEP_UNSEEN = timedelta(days=1)
_ERROR_LENGTH = 500

#: Arrays of the three columns that identify a version of a file.
VERSIONS = (
    "unnest(%(files)s::text[], %(sizes)s::bigint[], %(times)s::bigint[]) AS f (file, size, modified_ns)"
)
SAME = "(l.file, l.size, l.modified_ns) = (f.file, f.size, f.modified_ns)"
_PAUSE = "(%(pauses)s::interval[])[least({attempts}, cardinality(%(pauses)s::interval[]))]"


class Waiting(NamedTuple):
    """A file that was not read to its end yet."""

    found: Found
    attempts: int = 0
    last_error: str | None = None
    next_try_at: datetime | None = None
    under_way: bool = False  #: a run that lives has taken it
    due: bool = True
    others_alone: bool = False  #: a run is reading files alone just now

    @property
    def after_the_others(self) -> bool:
        return self.attempts > 0 or self.found.weight > RUN_BYTES


class Claim(msgspec.Struct):
    """The files that this run has taken, and nobody else."""

    id: UUID
    together: list[Found]  #: never tried
    alone: list[Found]  #: each to be read on its own, after the others
    read: list[Found] = []  #: that lie there and were read to their end; these are nobody's


def arrays(versions: Iterable[FileVersion]) -> dict[str, object]:
    """As parameters of a statement with VERSIONS."""
    files, sizes, times = zip(*versions, strict=True) if (versions := list(versions)) else ((), (), ())
    return {"files": list(files), "sizes": list(sizes), "times": list(times)}


def waiting(connection: Connection, files: Collection[Found]) -> list[Waiting]:
    """Those of ``files``, all of one folder, that were not read to their end, in their order."""
    by_version = {found.version: found for found in files}
    rows = connection.execute(
        "SELECT f.file, f.size, f.modified_ns, coalesce(l.attempts, 0), l.last_error, l.next_try_at, "
        "coalesce(l.claimed_until > now(), false), coalesce(l.next_try_at <= now(), true), "
        "EXISTS (SELECT FROM landing_files a WHERE a.alone AND a.claimed_until > now() "
        "AND starts_with(a.file, %(folder)s)) "
        f"FROM {VERSIONS} LEFT JOIN landing_files l ON {SAME} "
        "WHERE l.file IS NOT NULL OR NOT EXISTS (SELECT FROM ingested_files i "
        "WHERE (i.file, i.size, i.modified_ns) = (f.file, f.size, f.modified_ns))",
        arrays(by_version) | {"folder": _folder_of(files)},
    )
    unread = {FileVersion(*row[:3]): row[3:] for row in rows}
    return [Waiting(found, *unread[version]) for version, found in by_version.items() if version in unread]


def ready(
    connection: Connection, files: Sequence[Found], known: set[FileVersion] | None = None
) -> tuple[list[Found], list[Found]]:
    """What a run would take now: those that it reads together, and those that it reads alone after them.

    Only one run at a time reads files alone: however long these take, there is a place for the others.
    Versions that turn out to have been read to their end are added to what is ``known`` of that.
    """
    together: list[Found] = []
    alone: list[Waiting] = []
    for part in _batched(files, _LOOK_UP):
        unread = waiting(connection, part)
        if known is not None:
            known |= {found.version for found in part} - {file.found.version for file in unread}
        idle = [file for file in unread if not file.under_way]
        together += [file.found for file in idle if not file.after_the_others]
        alone += [file for file in idle if file.after_the_others and file.due and not file.others_alone]
        if len(together) >= RUN_FILES:
            break
    alone.sort(key=lambda file: file.attempts)
    return _share(together), _share([file.found for file in alone])


def files_waiting(connection: Connection, landing: Path, formats: Sequence[Format]) -> list[Path]:
    """The files of the folder ``landing`` that are complete and were not ingested yet, by name."""
    seen = look(landing, formats, settled=True)
    return [Path(file.found.path) for file in waiting(connection, seen.files)]


def claim(
    connection: Connection, landing: Path | str, formats: Sequence[Format]
) -> tuple[Claim, list[NotRead]]:
    """Take the next files of a landing folder; and the names there that are left alone."""
    seen = look(landing, formats, settled=True)
    read: set[FileVersion] = set()
    together, alone = ready(connection, seen.files, read)
    taken = Claim(uuid4(), [], [], [found for found in seen.files if found.version in read])
    _forget_unseen(connection, seen.files)
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '10s'")  # for a run that takes the same ones just now
        taken.together = _take(connection, taken.id, together, alone=False)
        taken.alone = _take(connection, taken.id, alone, alone=True)
    return taken, seen.skipped


def renew(connection: Connection, claim: Claim) -> None:
    """Hold on to what was not read yet."""
    connection.execute(
        "UPDATE landing_files SET claimed_until = clock_timestamp() + %s WHERE claim = %s", (LEASE, claim.id)
    )


def begin(connection: Connection, claim: Claim, files: Sequence[Found]) -> list[Found]:
    """Count an attempt at each of ``files`` before it is made. Returns those that are still ours to read."""
    rows = connection.execute(
        "UPDATE landing_files l SET attempts = attempts + 1, begun_at = now(), last_error = %(error)s, "
        f"next_try_at = now() + {_PAUSE.format(attempts='attempts + 1')}, claimed_until = now() + %(lease)s "
        f"FROM {VERSIONS} WHERE {SAME} AND l.claim = %(claim)s RETURNING l.file, l.size, l.modified_ns",
        arrays([found.version for found in files])
        | {"error": _BROKEN_OFF, "pauses": PAUSES, "lease": LEASE, "claim": claim.id},
    )
    ours = {FileVersion(*row) for row in rows}
    return [found for found in files if found.version in ours]


def failed(connection: Connection, claim: Claim, version: FileVersion, reason: str) -> None:
    """Keep why a file was not read to its end; from now on its pause runs."""
    connection.execute(
        "UPDATE landing_files SET last_error = %(error)s, claim = NULL, claimed_until = '-infinity', "
        f"next_try_at = now() + {_PAUSE.format(attempts='attempts')} "
        "WHERE claim = %(claim)s AND (file, size, modified_ns) = (%(file)s, %(size)s, %(modified_ns)s)",
        version._asdict()
        | {"error": reason[:_ERROR_LENGTH].replace("\0", "�"), "pauses": PAUSES, "claim": claim.id},
    )


def forget(connection: Connection, versions: Iterable[FileVersion]) -> None:
    """These were read to their end, or are not there any more."""
    connection.execute(f"DELETE FROM landing_files l USING {VERSIONS} WHERE {SAME}", arrays(sorted(versions)))


def read_again(connection: Connection, versions: Iterable[FileVersion]) -> None:
    """These hold something else than when they were read, though name, size and time are the same."""
    connection.execute(
        "INSERT INTO landing_files (file, size, modified_ns) "
        f"SELECT * FROM {VERSIONS} ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING",
        arrays(sorted(versions)),
    )


def release(connection: Connection, claim: Claim) -> None:
    """Leave what was not read to others, at once."""
    connection.execute(
        "UPDATE landing_files SET claim = NULL, claimed_until = '-infinity' WHERE claim = %s", (claim.id,)
    )


def _take(connection: Connection, claim: UUID, files: Sequence[Found], *, alone: bool) -> list[Found]:
    rows = connection.execute(
        "INSERT INTO landing_files AS l (file, size, modified_ns, alone, claim, claimed_until) "
        "SELECT f.file, f.size, f.modified_ns, %(alone)s, %(claim)s, clock_timestamp() + %(lease)s "
        f"FROM {VERSIONS} ORDER BY f.file, f.size, f.modified_ns "
        "ON CONFLICT (file, size, modified_ns) DO UPDATE SET alone = EXCLUDED.alone, claim = EXCLUDED.claim, "
        "claimed_until = EXCLUDED.claimed_until "
        "WHERE l.claimed_until <= clock_timestamp() AND l.next_try_at <= clock_timestamp() "
        "RETURNING file, size, modified_ns",
        arrays([found.version for found in files]) | {"alone": alone, "claim": claim, "lease": LEASE},
    )
    ours = {FileVersion(*row) for row in rows}
    return [found for found in files if found.version in ours]


def _forget_unseen(connection: Connection, files: Collection[Found]) -> None:
    """What nobody has wanted to try for a day is gone, or has changed and waits as another version."""
    rows = connection.execute(
        "SELECT file, size, modified_ns FROM landing_files "
        "WHERE next_try_at < now() - %s AND claimed_until < now()",
        (_KEEP_UNSEEN,),
    ).fetchall()
    unseen = {FileVersion(*row) for row in rows}
    if unseen:
        unseen -= {found.version for found in files}
        connection.execute(
            f"DELETE FROM landing_files l USING {VERSIONS} WHERE {SAME} "
            "AND next_try_at < now() - %(long)s AND claimed_until < now()",
            arrays(sorted(unseen)) | {"long": _KEEP_UNSEEN},
        )


def _batched(files: Sequence[Found], size: int) -> Iterator[Sequence[Found]]:
    for first in range(0, len(files), size):
        yield files[first : first + size]


def _folder_of(files: Collection[Found]) -> str:
    return next((found.version.file.rpartition("/")[0] + "/" for found in files), "/")


def _share(files: list[Found]) -> list[Found]:
    """As many as a run takes; one at least."""
    size = 0
    for number, found in enumerate(files):
        size += found.weight
        if number == RUN_FILES or (number and size > RUN_BYTES):
            return files[:number]
    return files
