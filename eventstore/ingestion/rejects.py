"""Lines that could not be appended: keep them, list them, try them again."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import msgspec
from psycopg.rows import class_row

from eventstore.ingestion.admission import StagedEvent, read_event
from eventstore.ingestion.formats import by_name
from eventstore.ingestion.lines import MAX_LINE
from eventstore.ingestion.staging import Numbered, Refused, Settled, append
from eventstore.kernel.codec import Codec
from eventstore.kernel.incoming import Format, Line, RefusedError
from eventstore.kernel.shown import shown
from eventstore.log.connection import Connection

#: Reasons that tell of a file, not of one line of it.
DAMAGED_FILE = frozenset({"truncated_gzip", "corrupt_gzip", "gzip_bomb"})

_BATCH_LINES = 1000
_BATCH_BYTES = 8 << 20
_DETAIL_LENGTH = 500

_OF_FILE_AND_REASON = (
    "(%(file)s::text IS NULL OR file = %(file)s OR right(file, length(%(file)s) + 1) = '/' || %(file)s) "
    "AND (%(reason)s::text IS NULL OR reason = %(reason)s)"
)


class Reject(msgspec.Struct, frozen=True, kw_only=True):
    """A line that could not be appended, as the table ``rejects`` has it."""

    id: int
    file: str
    line: int
    format: str
    reason: str
    detail: str
    raw: bytes
    raw_bytes: int
    rejected_at: datetime
    resolved_at: datetime | None
    discarded_at: datetime | None = None
    discarded_by: str | None = None
    discard_reason: str | None = None


class Discarded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the rejects that somebody wanted to discard."""

    ids: list[int]  #: that are discarded now, by this call
    settled_before: list[int]  #: of those asked for by id
    unknown: list[int]  #: ids that no reject has


_COLUMNS = ", ".join(Reject.__struct_fields__)


class _Waiting(NamedTuple):
    """What a retry needs of a reject."""

    record: Line
    format: str
    reason: str
    detail: str


class Retried(msgspec.Struct, kw_only=True):
    """What became of the rejects that were tried again: ``read`` is the sum of the other three."""

    read: int = 0
    appended: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejects_by_reason: dict[str, int] = {}


def list_rejects(
    connection: Connection,
    *,
    file: str | None = None,
    reason: str | None = None,
    resolved: bool = False,
    discarded: bool = False,
    limit: int = 100,
) -> list[Reject]:
    """The first ``limit`` rejects by id; unresolved ones, unless ``resolved`` are asked for, or of these only
    the ``discarded`` ones.

    ``file`` is a path or only the name of the file.
    """
    which = "discarded_at IS NOT NULL" if discarded else f"resolved_at IS {'NOT ' if resolved else ''}NULL"
    with connection.cursor(row_factory=class_row(Reject)) as cursor:
        return cursor.execute(
            f"SELECT {_COLUMNS} FROM rejects WHERE {which} AND {_OF_FILE_AND_REASON} "
            "ORDER BY id LIMIT %(limit)s",
            {"file": file, "reason": reason, "limit": limit},
        ).fetchall()


def find_reject(connection: Connection, reject_id: int) -> Reject | None:
    """The reject with that id, settled or not."""
    with connection.cursor(row_factory=class_row(Reject)) as cursor:
        return cursor.execute(f"SELECT {_COLUMNS} FROM rejects WHERE id = %s", (reject_id,)).fetchone()


def discard(connection: Connection, ids: Sequence[int] = (), *, why: str, by: str) -> Discarded:
    """Settle rejects that are never to be appended; they are kept, with ``why`` and ``by`` whom."""
    known: dict[int, bool] = dict(
        connection.execute(
            "SELECT id, resolved_at IS NOT NULL FROM rejects WHERE id = ANY(%s)", (list(ids),)
        ).fetchall()
    )
    done = _discard(connection, "id = ANY(%(ids)s)", {"ids": list(ids)}, why, by)
    return Discarded(
        ids=done,
        settled_before=[each for each in ids if each in known and each not in done],
        unknown=[each for each in ids if each not in known],
    )


def discard_all(
    connection: Connection, *, reason: str | None = None, file: str | None = None, why: str, by: str
) -> Discarded:
    """Settle all that wait with that reason code, or of that file, or both. Raises ValueError for neither."""
    if reason is None and file is None:
        raise ValueError("say which rejects: a reason code, a file, or both")
    ids = _discard(connection, _OF_FILE_AND_REASON, {"reason": reason, "file": file}, why, by)
    return Discarded(ids=ids, settled_before=[], unknown=[])


def _discard(
    connection: Connection, which: str, parameters: dict[str, object], why: str, by: str
) -> list[int]:
    if not why.strip():
        raise ValueError("say why: somebody will ask")
    rows = connection.execute(
        "UPDATE rejects SET resolved_at = now(), discarded_at = now(), discarded_by = %(by)s, "
        f"discard_reason = %(why)s WHERE resolved_at IS NULL AND {which} RETURNING id",
        parameters | {"why": _storable(why.strip()), "by": _storable(by)},
    )
    return sorted(number for (number,) in rows)


def count_by_reason(connection: Connection) -> dict[str, int]:
    """How many rejects wait, by reason, the most frequent first."""
    return dict(
        connection.execute(
            "SELECT reason, count(*) FROM rejects WHERE resolved_at IS NULL "
            "GROUP BY reason ORDER BY count(*) DESC, reason"
        ).fetchall()
    )


def keep(connection: Connection, file: str, form: Format, refused: Iterable[tuple[Line, str, str]]) -> None:
    """Store records of a file with reason and detail; one that was stored before gets the newest of these."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO rejects (file, line, format, reason, detail, raw, raw_bytes) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (file, line, raw_sha256) "
            "DO UPDATE SET (format, reason, detail) = (EXCLUDED.format, EXCLUDED.reason, EXCLUDED.detail) "
            "WHERE rejects.resolved_at IS NULL AND (rejects.format, rejects.reason, rejects.detail) "
            "<> (EXCLUDED.format, EXCLUDED.reason, EXCLUDED.detail)",
            [
                (file, line.number, form.name, reason, _storable(detail), line.raw[:MAX_LINE], line.size)
                for line, reason, detail in refused
            ],
        )


def forget_damage(connection: Connection, files: Sequence[str]) -> None:
    """Files that were damaged have been read to their end meanwhile: nothing of them is missing any more."""
    connection.execute(
        "UPDATE rejects SET resolved_at = now() "
        "WHERE file = ANY(%s) AND reason = ANY(%s) AND resolved_at IS NULL",
        (files, list(DAMAGED_FILE)),
    )


def damaged_files(connection: Connection, limit: int = 1000) -> list[tuple[str, str, str]]:
    """The files that could not be read to their end because they are damaged: file, reason, detail."""
    return connection.execute(
        "SELECT file, reason, detail FROM rejects WHERE resolved_at IS NULL AND reason = ANY(%s) "
        "ORDER BY file, id LIMIT %s",
        (sorted(DAMAGED_FILE), limit),
    ).fetchall()


def retry(
    connection: Connection, codec: Codec, formats: Sequence[Format], ids: Sequence[int] | None = None
) -> Retried:
    """Try all unresolved rejects again, or those of ``ids``, each by the format it came in: as after a fix or
    with newer code.

    One that is appended now, or turns out to be in the log already, is resolved in the same transaction;
    the others wait on, with the reason they have now. So does what tells of a damaged file: it is a piece of
    a record, and resolved when that file was read to its end.
    """
    done, known = Retried(), by_name(formats)
    after = 0
    while batch := _unresolved(connection, after, ids):
        after = max(batch)
        events: list[Numbered] = []
        refused: list[Refused] = []
        for number, waiting in batch.items():
            try:
                events.append((number, _event(waiting, known, codec)))
            except RefusedError as error:
                refused.append(Refused(number, error.reason, error.detail))
        for settled in append(connection, events, refused, partial(_resolve, connection)):
            done.appended += len(settled.appended)
            done.duplicates += len(settled.duplicates)
            done.rejected += len(settled.refused)
            done.rejects_by_reason = add_reasons(done.rejects_by_reason, settled)
    done.read = done.appended + done.duplicates + done.rejected
    return done


def add_reasons(counts: Mapping[str, int], settled: Settled) -> dict[str, int]:
    """``counts`` of rejects by reason, and those that were ``settled``."""
    return dict(Counter(counts) + Counter(refused.reason for refused in settled.refused))


def _event(waiting: _Waiting, known: Mapping[str, Format], codec: Codec) -> StagedEvent:
    """The event of a reject. Raises RefusedError, whatever is wrong: there are others."""
    if waiting.reason in DAMAGED_FILE:
        raise RefusedError(waiting.reason, waiting.detail)
    form = known.get(waiting.format)
    if form is None:
        detail = f"it came as {shown(waiting.format)}; known formats: {', '.join(known)}"
        raise RefusedError("unknown_format", detail)
    try:
        return read_event(waiting.record, form, codec)
    except RefusedError:
        raise
    except Exception as error:
        raise RefusedError("format_failed", f"{form.name}: {type(error).__name__}: {error}") from error


def _unresolved(connection: Connection, after: int, ids: Sequence[int] | None) -> dict[int, _Waiting]:
    """The next unresolved rejects by id: some lines, or some megabytes."""
    found: dict[int, _Waiting] = {}
    size = 0
    with connection.transaction(), connection.cursor(name="unresolved_rejects") as cursor:
        cursor.itersize = 50
        cursor.execute(
            "SELECT id, line, raw, raw_bytes, format, reason, detail FROM rejects "
            "WHERE resolved_at IS NULL AND id > %s AND (%s::bigint[] IS NULL OR id = ANY(%s)) ORDER BY id",
            (after, ids, ids),
        )
        for number, line, raw, raw_bytes, form, reason, detail in cursor:
            found[number] = _Waiting(Line(line, raw, raw_bytes), form, reason, detail)
            size += len(raw)
            if len(found) >= _BATCH_LINES or size >= _BATCH_BYTES:
                break
    return found


def _resolve(connection: Connection, settled: Settled) -> None:
    # One that somebody discarded in this moment is in the log all the same.
    connection.execute(
        "UPDATE rejects SET resolved_at = now(), discarded_at = NULL, discarded_by = NULL, "
        "discard_reason = NULL WHERE id = ANY(%s) AND (resolved_at IS NULL OR discarded_at IS NOT NULL)",
        ([*settled.appended, *settled.duplicates],),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE rejects SET reason = %(reason)s, detail = %(detail)s "
            "WHERE id = %(id)s AND resolved_at IS NULL AND (reason, detail) <> (%(reason)s, %(detail)s)",
            [
                {"id": number, "reason": reason, "detail": _storable(detail)}
                for number, reason, detail in settled.refused
            ],
        )


def _storable(detail: str) -> str:
    """Without what a text of PostgreSQL cannot hold, and not too long."""
    return detail[:_DETAIL_LENGTH].encode(errors="replace").decode().replace("\0", "�")
