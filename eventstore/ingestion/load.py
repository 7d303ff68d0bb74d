"""Ingest files of events: every good line into the log, every other one into the rejects."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import psycopg
from psycopg.errors import (
    DeadlockDetected,
    ProgramLimitExceeded,
    RaiseException,
    SerializationFailure,
    StatementTooComplex,
)
from psycopg.pq import TransactionStatus

from eventstore.ingestion import contents, moving
from eventstore.ingestion import landing as claims
from eventstore.ingestion.chunks import Chunk, FileIngested, Reading, chunks_of, identify
from eventstore.ingestion.files import Elsewhere, Found, InputFileError, NotRead, printable
from eventstore.ingestion.landing import files_waiting
from eventstore.ingestion.leaving import leave, lies_in
from eventstore.ingestion.places import can_move, expand
from eventstore.ingestion.staging import Settled, append
from eventstore.ingestion.turns import short_turns
from eventstore.kernel.codec import Codec
from eventstore.kernel.counted import counted
from eventstore.kernel.incoming import Format
from eventstore.kernel.moments import moment
from eventstore.log.connection import Connection, open_connection
from eventstore.log.errors import EventStoreError
from eventstore.log.outages import is_outage

__all__ = ["FileIngested", "Ingested", "Progress", "files_waiting", "ingest", "ingest_landing"]

# A transaction of the load: long enough to be fast, short enough not to hold back the feed.
_CHUNK_LINES = 10_000
_CHUNK_BYTES = 8 << 20

#: Files up to this size are read together, so many at a time: a transaction for each would take longer.
_SMALL_BYTES = 1 << 18
_GROUP_FILES = 250
#: A claim is renewed about so often.
_RENEW_S = 15
#: A run begins no further files after so long, and gives up such as take longer: they are then read alone.
_RUN_S, _LONG_S = 300, 600

#: What the database may have against a file. All its other errors are about itself: they end the load.
_ABOUT_THE_FILE = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.InternalError,
    psycopg.NotSupportedError,
    RaiseException,
    DeadlockDetected,
    SerializationFailure,
    ProgramLimitExceeded,
    StatementTooComplex,
)


class Ingested(msgspec.Struct, kw_only=True):
    """What became of the lines: ``read`` is the sum of the other three."""

    read: int
    appended: int
    duplicates: int
    rejected: int
    rejects_by_reason: dict[str, int]
    files: list[FileIngested]  #: those that were read to their end
    failed: list[NotRead] = []  #: those that were not, and why
    skipped: list[NotRead] = []  #: names that were left alone, and why
    known: list[str] = []  #: of what was read before and came again, a sentence each
    moved: dict[str, str] = {}  #: where files of the landing folder went that were read
    not_moved: list[NotRead] = []  #: those that were read, and could not be moved
    seconds: float


class Progress(msgspec.Struct, frozen=True):
    """How far a load is in the file that it reads."""

    path: Path | Elsewhere
    position: int  #: bytes of the file that were read
    size: int
    read: int  #: lines


Report = Callable[[Progress], None]


def ingest(
    connection_or_url: Connection | str,
    codec: Codec,
    formats: Sequence[Format],
    paths: Sequence[Path | str],
    *,
    on_progress: Report | None = None,
    landing: Path | str | None = None,
) -> Ingested:
    """Append the events of ``paths``, files, folders and URLs, to the log; each in the format of its name.

    Lines that cannot be appended go to the table ``rejects``, files that cannot be read to ``failed`` of the
    answer. Commits every few thousand lines; run again after a crash, it appends what is missing and nothing
    twice. Raises InputFileError, before anything is read, for one of the ``paths`` that cannot be ingested.
    What lies in the folder ``landing`` is moved when it was read; everything else stays where it is. What is
    at a URL is not downloaded again when it was read before and has not changed.
    """
    started = time.monotonic()
    if isinstance(landing, Path):
        moving.put_back(landing)
    seen = expand(paths, formats)
    with (
        _connection(connection_or_url) as connection,
        _Load(connection, codec, on_progress, moves_from=landing) as load,
    ):
        for group in _groups(load.without_unchanged(seen.files)):
            load.read(group)
    return load.result(seen.skipped, started)


def ingest_landing(
    connection_or_url: Connection | str,
    codec: Codec,
    formats: Sequence[Format],
    folder: Path | str,
    *,
    on_progress: Report | None = None,
    move: bool = True,
) -> Ingested:
    """Append what waits in a landing folder and no other run has taken, up to `RUN_FILES` or `RUN_BYTES`.

    Files that failed before are read after the others, each alone, when their pause is over. What is not
    begun after some minutes is left to the next run. With ``move``, what was read leaves the folder, also
    what an earlier run had no time to move, and what was put back. Content that is known is not read again.
    """
    started = time.monotonic()
    moves_from = folder if move and can_move(folder) else None
    if isinstance(moves_from, Path):
        moving.put_back(moves_from)
    with _connection(connection_or_url) as connection:
        claim, skipped = claims.claim(connection, folder, formats)
        with (
            _releasing(connection, claim),
            _Load(connection, codec, on_progress, claim, moves_from=moves_from) as load,
        ):
            if moves_from is not None:
                load.move_read(contents.to_be_moved(connection, claim.read))
            for group in _groups(claim.together):
                if time.monotonic() < started + _RUN_S:
                    load.read(claims.begin(connection, claim, group), longest=_LONG_S)
            for number, file in enumerate(claim.alone):
                if number == 0 or time.monotonic() < started + _RUN_S:
                    load.read(claims.begin(connection, claim, [file]))
    return load.result(skipped, started)


class _Load:
    """Reads files, group by group, into the log."""

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        on_progress: Report | None,
        claim: claims.Claim | None = None,
        *,
        moves_from: Path | str | None = None,
    ) -> None:
        self._connection, self._codec = connection, codec
        self._on_progress, self._claim = on_progress, claim
        self._appender = ThreadPoolExecutor(1, "append")
        self._duplicates = True  # what we begin with may have been read before
        self._renewed = time.monotonic()
        self._until: float | None = None
        self._files: list[Reading] = []
        self._moves_from = moves_from if moves_from is not None and can_move(moves_from) else None
        self._moved: list[moving.Moved] = []
        self._known: list[str] = []

    def __enter__(self) -> "_Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._appender.shutdown()

    def read(self, files: Sequence[Found], longest: float | None = None) -> None:
        """Read some files, for ``longest`` seconds at most. One that cannot be read stops no other."""
        self._until = time.monotonic() + longest if longest else None
        group = [Reading.of(found) for found in files]
        if self._claim:
            group = self._without_known(group)
        try:
            self._read(group)
        except Exception as error:
            if not self._is_about_the_file(error):
                raise
            group = self._read_each(group, error)
        self._files += group
        if self._claim:
            claims.forget(self._connection, [reading.found.version for reading in group if reading.gone])
            for reading in group:
                if reading.error and not reading.gone:
                    claims.failed(self._connection, self._claim, reading.found.version, reading.error)
        self._move([reading for reading in group if reading.finished])

    def without_unchanged(self, files: Sequence[Found]) -> list[Found]:
        """Of files at URLs only those that were not read yet; the others are moved, where they are to be."""
        remote = [found for found in files if not isinstance(found.path, Path)]
        known = (
            contents.read_to_end(self._connection, [found.version for found in remote]) if remote else set()
        )
        if known:
            self._known.append(
                f"{counted(len(known), 'file')} at URLs did not change since read: not downloaded again"
            )
            if self._moves_from is not None:
                self.move_read([found for found in remote if found.version in known])
        return [found for found in files if found.version not in known or isinstance(found.path, Path)]

    def move_read(self, files: Sequence[Found]) -> None:
        """Move what was read before; what holds something else by now waits to be read."""
        before = contents.standings(self._connection, [found.version for found in files])
        readings = [Reading.of(found) for found in files if found.version in before]
        same: list[Reading] = []
        other: list[Reading] = []
        for reading in readings:
            was = before[reading.version]
            reading.damage = was.damage
            if not isinstance(reading.found.path, Path):  # its tag tells
                reading.sha256 = was.sha256
                same.append(reading)
            elif identify(reading, self._pulse):
                (same if reading.sha256 == was.sha256 else other).append(reading)
        self._move(same)
        claims.read_again(self._connection, [reading.version for reading in other])

    def result(self, skipped: list[NotRead], started: float) -> Ingested:
        done = [reading.done for reading in self._files]
        return Ingested(
            read=sum(file.read for file in done),
            appended=sum(file.appended for file in done),
            duplicates=sum(file.duplicates for file in done),
            rejected=sum(file.rejected for file in done),
            rejects_by_reason=dict(sum((Counter(file.rejects_by_reason) for file in done), Counter())),
            files=[reading.done for reading in self._files if reading.finished],
            failed=[
                NotRead(printable(reading.found.path), reading.error)
                for reading in self._files
                if reading.error and not (reading.gone and self._claim)
            ],
            skipped=skipped,
            known=self._known,
            moved={printable(each.file.path): printable(each.to) for each in self._moved if each.to},
            not_moved=[
                NotRead(printable(each.file.path), each.problem) for each in self._moved if each.problem
            ],
            seconds=time.monotonic() - started,
        )

    def _without_known(self, group: list[Reading]) -> list[Reading]:
        """Of some files those whose content nobody has read yet. The others are done."""
        sizes = contents.sizes_known(self._connection, [reading.found.version.size for reading in group])
        hashed = {
            reading.version: contents.Content(reading.version.size, reading.sha256, reading.found.format.name)
            for reading in group
            if isinstance(reading.found.path, Path)
            and reading.found.version.size in sizes
            and identify(reading, self._pulse)
        }
        before = contents.read_earlier(self._connection, hashed.values()) if hashed else {}
        known = {version: content for version, content in hashed.items() if content in before}
        if not known:
            return group
        contents.keep_known(self._connection, known)
        done = [reading for reading in group if reading.version in known]
        for reading in done:
            earlier = before[known[reading.version]]
            reading.damage = earlier.damage
            self._known.append(
                f"{printable(reading.found.path)} holds what was read as {printable(earlier.file)}, "
                f"{moment(earlier.finished_at)}: it was not read again"
            )
        self._move(done)
        return [reading for reading in group if reading.version not in known]

    def _move(self, readings: Sequence[Reading]) -> None:
        folder = self._moves_from
        if folder is None:
            return
        moved, known = leave(
            self._connection,
            folder,
            [
                moving.ReadFile(found.path, reading.version, reading.inode, reading.sha256, reading.damage)
                for reading in readings
                if lies_in((found := reading.found).path, folder)
            ],
        )
        self._moved += moved
        self._known += known

    def _read(self, group: list[Reading]) -> None:
        """While the database works on one chunk, the next one is parsed."""
        chunks = chunks_of(
            group,
            self._codec,
            max_lines=_CHUNK_LINES,
            max_bytes=_CHUNK_BYTES,
            settled_only=self._claim is not None,
            pulse=self._pulse,
        )
        with short_turns(), closing(chunks):
            chunk = next(chunks, None)
            while chunk:
                appending = self._appender.submit(self._append, chunk)
                try:
                    following = next(chunks, None)
                    appending.result()
                except BaseException:
                    if not appending.done():  # stopped from outside: the database may be waiting for somebody
                        self._connection.cancel()
                    raise
                chunk.count()
                self._duplicates = chunk.has_duplicates
                self._report(chunk)
                chunk = following

    def _append(self, chunk: Chunk) -> None:
        append(
            self._connection,
            chunk.events,
            chunk.refused,
            partial(self._settle, chunk),
            expect_duplicates=self._duplicates,
        )

    def _settle(self, chunk: Chunk, settled: Settled) -> None:
        chunk.settle(self._connection, settled)
        self._renew()

    def _renew(self) -> None:
        if self._claim and self._is_time_to_renew():
            self._renewed = time.monotonic()
            claims.renew(self._connection, self._claim)

    def _is_time_to_renew(self) -> bool:
        return time.monotonic() - self._renewed > _RENEW_S

    def _pulse(self) -> None:
        """While a file is read. The connection belongs to the other thread."""
        if self._until and time.monotonic() > self._until:
            raise InputFileError("it takes too long to be read with the others")
        if self._claim and self._is_time_to_renew():
            self._appender.submit(self._renew).result()

    def _read_each(self, group: list[Reading], error: Exception) -> list[Reading]:
        """After a file of the group was one too many for the database: find out which."""
        if len(group) == 1:
            group[0].error = _in_words(error)
            return group
        again = [reading if reading.finished else Reading.of(reading.found) for reading in group]
        for reading in again:
            if not reading.finished:
                try:
                    self._read([reading])
                except Exception as its_own:
                    if not self._is_about_the_file(its_own):
                        raise
                    reading.error = _in_words(its_own)
        return again

    def _is_about_the_file(self, error: Exception) -> bool:
        if self._connection.closed or is_outage(error):
            return False
        return isinstance(error, _ABOUT_THE_FILE) or not isinstance(error, psycopg.Error | EventStoreError)

    def _report(self, chunk: Chunk) -> None:
        if self._on_progress:
            for part in chunk.parts:
                reading = part.reading
                self._on_progress(
                    Progress(reading.found.path, reading.position, reading.version.size, reading.done.read)
                )


@contextmanager
def _connection(given: Connection | str) -> Iterator[Connection]:
    if isinstance(given, str):
        with open_connection(given, application_name="eventstore ingest") as connection:
            yield connection
    elif given.info.transaction_status != TransactionStatus.IDLE:
        raise ValueError("a load commits in chunks: it needs a connection without an open transaction")
    else:
        yield given


@contextmanager
def _releasing(connection: Connection, claim: claims.Claim) -> Iterator[None]:
    """What was claimed and not read is there for others at once, unless the process is killed."""
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # the claim lapses
            claims.release(connection, claim)


def _groups(files: Iterable[Found]) -> Iterator[list[Found]]:
    """Small files together, others alone; in their order."""
    group: list[Found] = []
    for found in files:
        if found.version.size > _SMALL_BYTES:
            if group:
                yield group
            yield [found]
            group = []
            continue
        group.append(found)
        if len(group) == _GROUP_FILES:
            yield group
            group = []
    if group:
        yield group


def _in_words(error: Exception) -> str:
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return f"{type(error).__name__}: {said or error}"
