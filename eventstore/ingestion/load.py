"""Ingest files of CloudEvents: every good line into the log, every other one into the rejects."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
from psycopg.pq import TransactionStatus

from eventstore.ingestion.cloudevent import RefusedError, parse_line
from eventstore.ingestion.files import expand, file_version, files_waiting, open_file
from eventstore.ingestion.lines import DamagedGzipError, Line, read_lines
from eventstore.ingestion.rejects import DAMAGED_FILE, add_reasons, forget_damage, keep
from eventstore.ingestion.staging import Numbered, Refused, Settled, append
from eventstore.log.connection import Connection, open_connection

__all__ = ["FileIngested", "Ingested", "Progress", "files_waiting", "ingest"]

# A transaction of the load: long enough to be fast, short enough not to hold back the feed.
_CHUNK_LINES = 10_000
_CHUNK_BYTES = 8 << 20


class FileIngested(msgspec.Struct, kw_only=True):
    """What became of the lines of one file."""

    file: str
    read: int = 0
    appended: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejects_by_reason: dict[str, int] = {}


class Ingested(msgspec.Struct, kw_only=True):
    """What became of the lines: ``read`` is the sum of the other three."""

    read: int
    appended: int
    duplicates: int
    rejected: int
    rejects_by_reason: dict[str, int]
    files: list[FileIngested]
    seconds: float


class Progress(msgspec.Struct, frozen=True):
    """How far a load is in the file that it reads."""

    path: Path
    position: int  #: bytes of the file that were read
    size: int
    read: int  #: lines


class _Chunk(msgspec.Struct):
    """Lines that go into one transaction."""

    lines: dict[int, Line] = {}
    events: list[Numbered] = []
    refused: list[Refused] = []
    bytes: int = 0

    def add(self, line: Line) -> None:
        self.lines[line.number] = line
        self.bytes += len(line.raw)
        try:
            self.events.append((line.number, parse_line(line)))
        except RefusedError as error:
            self.refused.append(Refused(line.number, error.reason, error.detail))


def ingest(
    connection_or_url: Connection | str,
    paths: Sequence[Path],
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Ingested:
    """Append the CloudEvents of ``paths``, files and folders, to the log.

    Lines that cannot be appended go to the table ``rejects``. Commits every few thousand lines; run again
    after a crash, it appends what is missing and nothing twice.
    Raises InputFileError, before anything is read, for a path that cannot be ingested.
    """
    started = time.monotonic()
    files = expand(paths)
    with _connection(connection_or_url) as connection:
        done = [_ingest_file(connection, path, on_progress) for path in files]
    return Ingested(
        read=sum(file.read for file in done),
        appended=sum(file.appended for file in done),
        duplicates=sum(file.duplicates for file in done),
        rejected=sum(file.rejected for file in done),
        rejects_by_reason=dict(sum((Counter(file.rejects_by_reason) for file in done), Counter())),
        files=done,
        seconds=time.monotonic() - started,
    )


def _connection(given: Connection | str) -> AbstractContextManager[Connection]:
    if isinstance(given, str):
        return open_connection(given, application_name="eventstore ingest")
    if given.info.transaction_status != TransactionStatus.IDLE:
        raise ValueError("a load commits in chunks: it needs a connection without an open transaction")
    return nullcontext(given)


def _ingest_file(
    connection: Connection, path: Path, on_progress: Callable[[Progress], None] | None
) -> FileIngested:
    with open_file(path) as file:
        version = file_version(path, file.fileno())
        done = FileIngested(file=version.file)
        damaged = False
        for chunk, settled in _append_each(connection, version.file, _chunks(file)):
            for part in settled:
                done.appended += len(part.appended)
                done.duplicates += len(part.duplicates)
                done.rejected += len(part.refused)
                done.rejects_by_reason = add_reasons(done.rejects_by_reason, part)
            done.read += len(chunk.lines)
            damaged = damaged or any(reason in DAMAGED_FILE for _, reason, _ in chunk.refused)
            if on_progress:
                on_progress(Progress(path, file.tell(), version.size, done.read))
    with connection.transaction():
        connection.execute(
            "INSERT INTO ingested_files (file, size, modified_ns, read, appended, duplicates, rejected) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (*version, done.read, done.appended, done.duplicates, done.rejected),
        )
        if not damaged:
            forget_damage(connection, version.file)
    return done


def _append_each(
    connection: Connection, file: str, chunks: Iterator[_Chunk]
) -> Iterator[tuple[_Chunk, list[Settled]]]:
    """Append chunk by chunk; while the database works on one, the next one is parsed."""
    duplicates = True  # the file may have been read before
    with ThreadPoolExecutor(1, "append") as appender:
        chunk = next(chunks, None)
        while chunk:
            appending = appender.submit(
                append,
                connection,
                chunk.events,
                chunk.refused,
                partial(keep, connection, file, chunk.lines),
                expect_duplicates=duplicates,
            )
            try:
                following = next(chunks, None)
                settled = appending.result()
            except BaseException:
                if not appending.done():  # stopped from outside: the database may be waiting for somebody
                    connection.cancel()
                raise
            duplicates = any(part.duplicates for part in settled)
            yield chunk, settled
            chunk = following


def _chunks(file: BinaryIO) -> Iterator[_Chunk]:
    """The lines of ``file``, parsed, but for empty ones."""
    chunk = _Chunk()
    try:
        for line in read_lines(file):
            if not line.raw or line.raw.isspace():
                continue
            chunk.add(line)
            if len(chunk.lines) >= _CHUNK_LINES or chunk.bytes >= _CHUNK_BYTES:
                yield chunk
                chunk = _Chunk()
    except DamagedGzipError as error:
        chunk.lines[error.rest.number] = error.rest
        chunk.refused.append(Refused(error.rest.number, error.reason, error.detail))
    if chunk.lines:
        yield chunk
