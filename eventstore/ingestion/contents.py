"""Files are known by their content: by its hash, and the format that it is read in, whatever they are called.

And of those that were read: which are still, or again, in the landing folder, and where the others went.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from eventstore.ingestion.files import FileVersion, Found
from eventstore.ingestion.landing import SAME, VERSIONS, arrays, forget
from eventstore.log.connection import Connection

#: What could not be moved is tried again after so long.
_PAUSE = timedelta(minutes=5)


class Content(NamedTuple):
    """What identifies what a file holds; two that are called differently may hold the same."""

    size: int
    sha256: bytes
    format: str


class Earlier(NamedTuple):
    """When a content was read first, and what the file was called."""

    file: str
    finished_at: datetime
    damage: str | None


class Standing(NamedTuple):
    """A file that was read, as the database knows it."""

    sha256: bytes
    damage: str | None
    moved_to: str | None


def sizes_known(connection: Connection, sizes: Collection[int]) -> set[int]:
    """The sizes among ``sizes`` that a file had which was read. One that is empty is not worth a look."""
    rows = connection.execute(
        "SELECT size FROM unnest(%s::bigint[]) AS s (size) WHERE size > 0 AND EXISTS "
        "(SELECT FROM ingested_files i WHERE i.size = s.size AND i.sha256 IS NOT NULL)",
        (list(set(sizes)),),
    )
    return {size for (size,) in rows}


def read_earlier(connection: Connection, contents: Iterable[Content]) -> dict[Content, Earlier]:
    """Those of ``contents`` that were read, in another file or in this one, with the first of these."""
    asked = list(set(contents))
    rows = connection.execute(
        "SELECT DISTINCT ON (i.size, i.sha256, i.format) i.size, i.sha256, i.format, "
        "i.file, i.finished_at, i.damage "
        "FROM unnest(%s::bigint[], %s::bytea[], %s::text[]) AS c (size, sha256, format) "
        "JOIN ingested_files i USING (size, sha256, format) "
        "ORDER BY i.size, i.sha256, i.format, i.finished_at",
        ([each.size for each in asked], [each.sha256 for each in asked], [each.format for each in asked]),
    )
    return {Content(*row[:3]): Earlier(*row[3:]) for row in rows}


def keep_known(connection: Connection, known: Mapping[FileVersion, Content]) -> None:
    """Note files whose content was read before: their lines are in the log, or rejects, already."""
    versions = sorted(known)
    with connection.transaction():
        connection.execute(
            "INSERT INTO ingested_files (file, size, modified_ns, read, appended, duplicates, rejected, "
            "sha256, format, damage) "
            "SELECT f.file, f.size, f.modified_ns, e.read, 0, e.appended + e.duplicates, e.rejected, "
            "e.sha256, e.format, e.damage "
            "FROM unnest(%(files)s::text[], %(sizes)s::bigint[], %(times)s::bigint[], %(hashes)s::bytea[], "
            "%(formats)s::text[]) AS f (file, size, modified_ns, sha256, format) CROSS JOIN LATERAL "
            "(SELECT * FROM ingested_files i "
            "WHERE (i.size, i.sha256, i.format) = (f.size, f.sha256, f.format) "
            "ORDER BY i.finished_at LIMIT 1) e "
            "ON CONFLICT DO NOTHING",
            arrays(versions)
            | {
                "hashes": [known[version].sha256 for version in versions],
                "formats": [known[version].format for version in versions],
            },
        )
        forget(connection, versions)


def standings(connection: Connection, versions: Iterable[FileVersion]) -> dict[FileVersion, Standing]:
    """Of files that were read by a release that knows their content, how they stand."""
    rows = connection.execute(
        f"SELECT l.file, l.size, l.modified_ns, l.sha256, l.damage, l.moved_to FROM {VERSIONS} "
        f"JOIN ingested_files l ON {SAME} WHERE l.sha256 IS NOT NULL",
        arrays(versions),
    )
    return {FileVersion(*row[:3]): Standing(*row[3:]) for row in rows}


def to_be_moved(connection: Connection, files: Sequence[Found]) -> list[Found]:
    """Those of ``files`` that were read, and lie there still or again. What cannot be moved has a pause."""
    rows = connection.execute(
        f"SELECT l.file, l.size, l.modified_ns FROM {VERSIONS} JOIN ingested_files l ON {SAME} "
        "WHERE l.sha256 IS NOT NULL AND (l.move_again_at <= now() OR l.move_again_at IS NULL) "
        "AND NOT EXISTS (SELECT FROM landing_files w "
        "WHERE (w.file, w.size, w.modified_ns) = (l.file, l.size, l.modified_ns))",
        arrays([found.version for found in files]),
    )
    left = {FileVersion(*row) for row in rows}
    return [
        found
        for found in files
        if found.version in left and not (isinstance(found.path, Path) and found.path.is_symlink())
    ]


def read_to_end(connection: Connection, versions: Iterable[FileVersion]) -> set[FileVersion]:
    """Those of ``versions`` that were."""
    rows = connection.execute(
        f"SELECT l.file, l.size, l.modified_ns FROM {VERSIONS} JOIN ingested_files l ON {SAME}",
        arrays(versions),
    )
    return {FileVersion(*row) for row in rows}


def not_moved(connection: Connection, files: Sequence[Found]) -> list[tuple[Found, str]]:
    """Those of ``files`` that were read and could not be moved, with the reason."""
    rows = connection.execute(
        f"SELECT l.file, l.size, l.modified_ns, l.move_error FROM {VERSIONS} JOIN ingested_files l ON {SAME} "
        "WHERE l.move_error IS NOT NULL",
        arrays([found.version for found in files]),
    )
    why = {FileVersion(*row[:3]): row[3] for row in rows}
    return [(found, why[found.version]) for found in files if found.version in why]


def keep_moves(connection: Connection, moved: Mapping[FileVersion, tuple[str | None, str | None]]) -> None:
    """Note of files where they went, or why they could not."""
    versions = sorted(moved)
    connection.execute(
        "UPDATE ingested_files l SET moved_to = coalesce(m.moved_to, l.moved_to), move_error = m.problem, "
        "move_again_at = CASE WHEN m.problem IS NOT NULL THEN now() + %(pause)s END "
        "FROM unnest(%(files)s::text[], %(sizes)s::bigint[], %(times)s::bigint[], %(to)s::text[], "
        "%(problems)s::text[]) AS m (file, size, modified_ns, moved_to, problem) "
        "WHERE (l.file, l.size, l.modified_ns) = (m.file, m.size, m.modified_ns)",
        arrays(versions)
        | {
            "to": [moved[version][0] for version in versions],
            "problems": [moved[version][1] for version in versions],
            "pause": _PAUSE,
        },
    )
