"""The lines of files as the transactions that they go into, and what became of them."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import BinaryIO

import msgspec

from eventstore.ingestion.admission import read_event
from eventstore.ingestion.files import (
    FileVersion,
    Found,
    InputFileError,
    inode_of,
    is_settled,
    open_file,
    printable,
)
from eventstore.ingestion.landing import forget
from eventstore.ingestion.lines import DamagedGzipError, Source, read_lines
from eventstore.ingestion.rejects import forget_damage, keep
from eventstore.ingestion.staging import Numbered, Refused, Settled
from eventstore.kernel.codec import Codec
from eventstore.kernel.incoming import Format, Line, RefusedError
from eventstore.log.connection import Connection

_BLOCK = 1 << 18
_UNSETTLED, _APPENDED, _DUPLICATE, _REFUSED = range(4)


class FileIngested(msgspec.Struct, kw_only=True):
    """What became of the lines of one file."""

    file: str
    read: int = 0
    appended: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejects_by_reason: dict[str, int] = {}


class Reading(msgspec.Struct):
    """A file that is being read."""

    found: Found
    version: FileVersion
    done: FileIngested
    position: int = 0  #: bytes of the file that were read
    damage: str | None = None  #: why it cannot be read whole
    inode: tuple[int, int] | None = None
    sha256: bytes = b""  #: of all that it holds
    finished: bool = False  #: all of its lines are settled
    error: str | None = None  #: why it could not be read to its end
    gone: bool = False

    @classmethod
    def of(cls, found: Found) -> "Reading":
        return cls(found, found.version, FileIngested(file=found.version.file))


class _Part(msgspec.Struct):
    """The lines of one file in a chunk: from one number to before another."""

    reading: Reading
    start: int
    stop: int
    position: int = 0
    is_last: bool = False

    @property
    def format(self) -> Format:
        return self.reading.found.format


class Chunk(msgspec.Struct):
    """Lines that go into one transaction, numbered from 0: parts of files, or files as a whole."""

    codec: Codec
    parts: list[_Part] = []
    lines: list[Line] = []
    events: list[Numbered] = []
    refused: list[Refused] = []
    bytes: int = 0
    _outcomes: bytearray = msgspec.field(default_factory=bytearray)
    _transactions: list[Settled] = []

    def begin_file(self, reading: Reading) -> None:
        self.parts.append(_Part(reading, len(self.lines), len(self.lines)))

    def add(self, line: Line) -> None:
        number = self._number(line)
        try:
            self.events.append((number, read_event(line, self.parts[-1].format, self.codec)))
        except RefusedError as error:
            self.refused.append(Refused(number, error.reason, error.detail))

    def refuse(self, line: Line, reason: str, detail: str) -> None:
        self.refused.append(Refused(self._number(line), reason, detail))

    def settle(self, connection: Connection, settled: Settled) -> None:
        """Keep, within its transaction, what became of some lines, and of the files that end with them."""
        self._remember(settled)
        for start, refused in groupby(settled.refused, lambda each: self._part_of(each.line).start):
            part = self._part_of(start)
            kept = [(self.lines[each.line], each.reason, each.detail) for each in refused]
            keep(connection, part.reading.done.file, part.format, kept)
        ended = [
            part
            for part in self.parts
            if part.is_last and _UNSETTLED not in self._outcomes[part.start : part.stop]
        ]
        if ended:
            _record(connection, [(part.reading, *self._counts(part)) for part in ended])

    def count(self) -> None:
        """When all of its lines are settled: add them to the counts of their files."""
        for part in self.parts:
            done = part.reading.done
            appended, duplicates, rejected = self._counts(part)
            done.appended += appended
            done.duplicates += duplicates
            done.rejected += rejected
            done.read += part.stop - part.start
            part.reading.position = part.position
            part.reading.finished = part.is_last
        reasons: dict[int, Counter[str]] = {}
        for settled in self._transactions:
            for refused in settled.refused:
                reasons.setdefault(self._part_of(refused.line).start, Counter())[refused.reason] += 1
        for start, counter in reasons.items():
            done = self._part_of(start).reading.done
            done.rejects_by_reason = dict(Counter(done.rejects_by_reason) + counter)

    @property
    def has_duplicates(self) -> bool:
        return any(settled.duplicates for settled in self._transactions)

    def _number(self, line: Line) -> int:
        self.lines.append(line)
        self.bytes += len(line.raw)
        self.parts[-1].stop = len(self.lines)
        return len(self.lines) - 1

    def _part_of(self, number: int) -> _Part:
        """Parts without lines stand between others, but no line is in them."""
        low, high = 0, len(self.parts) - 1
        while low < high:
            middle = (low + high) // 2
            if self.parts[middle].stop > number:
                high = middle
            else:
                low = middle + 1
        return self.parts[low]

    def _remember(self, settled: Settled) -> None:
        """A transaction that settled one of these lines before was rolled back, or this could not be."""
        numbers = set(_numbers(settled))
        if any(self._outcomes):
            self._transactions = [
                before for before in self._transactions if numbers.isdisjoint(_numbers(before))
            ]
        self._transactions = [*self._transactions, settled]
        self._outcomes = bytearray(len(self.lines))
        for transaction in self._transactions:
            for number in transaction.appended:
                self._outcomes[number] = _APPENDED
            for number in transaction.duplicates:
                self._outcomes[number] = _DUPLICATE
            for refused in transaction.refused:
                self._outcomes[refused.line] = _REFUSED

    def _counts(self, part: _Part) -> tuple[int, int, int]:
        outcomes = self._outcomes[part.start : part.stop]
        return outcomes.count(_APPENDED), outcomes.count(_DUPLICATE), outcomes.count(_REFUSED)


def chunks_of(
    files: Sequence[Reading],
    codec: Codec,
    *,
    max_lines: int,
    max_bytes: int,
    settled_only: bool,
    pulse: Callable[[], None],
) -> Generator[Chunk]:
    """The lines of ``files``, parsed, but for empty ones. A file that cannot be read ends with its ``error``.

    ``settled_only``: one that is being written again since it was found is gone, for now.
    ``pulse`` is called before each read, also within endless lines; what it raises ends the file.
    """
    chunk = Chunk(codec)
    for reading in files:
        chunk.begin_file(reading)
        try:
            file, reading.version = _open(reading.found, settled_only=settled_only)
            with file:
                reading.inode = inode_of(file)
                watched = _Watched(file, pulse)
                for line in _lines(watched, reading):
                    if isinstance(line, DamagedGzipError):
                        chunk.refuse(line.rest, line.reason, line.detail)
                    elif line.raw and not line.raw.isspace():
                        chunk.add(line)
                        if len(chunk.lines) < max_lines and chunk.bytes < max_bytes:
                            continue
                    else:
                        continue
                    chunk.parts[-1].position = file.tell()
                    yield chunk
                    chunk = Chunk(codec)
                    chunk.begin_file(reading)
                reading.sha256 = watched.sha256()
                chunk.parts[-1].position = file.tell()
            chunk.parts[-1].is_last = True
        except FileNotFoundError:
            reading.gone, reading.error = True, "it is not there any more"
        except InputFileError as error:
            reading.error = str(error).removeprefix(f"{printable(reading.found.path)}: ")
        except OSError as error:
            reading.error = error.strerror or str(error)
        except Exception as error:  # whatever it is, it is the matter of this file
            reading.error = f"{type(error).__name__}: {error}"
    yield chunk


def identify(reading: Reading, pulse: Callable[[], None]) -> bool:
    """Find out what a file holds without reading its lines. False: it cannot be read, or has changed."""
    try:
        file, reading.version = open_file(reading.found)
        with file:
            reading.inode = inode_of(file)
            reading.sha256 = _Watched(file, pulse).sha256()
    except (OSError, InputFileError):
        return False
    return reading.version == reading.found.version


def _open(found: Found, *, settled_only: bool) -> tuple[BinaryIO, FileVersion]:
    file, version = open_file(found)
    if settled_only and version != found.version and not is_settled(version):
        file.close()
        raise FileNotFoundError
    return file, version


class _Watched:
    """A file of which somebody is told whenever it is read, and of which a hash is made meanwhile."""

    def __init__(self, file: BinaryIO, pulse: Callable[[], None]) -> None:
        self._file, self._pulse, self._hash = file, pulse, sha256()

    def read(self, size: int, /) -> bytes:
        self._pulse()
        block = self._file.read(size)
        self._hash.update(block)
        return block

    def seek(self, offset: int, /) -> int:
        """To its beginning."""
        self._hash = sha256()
        return self._file.seek(offset)

    def sha256(self) -> bytes:
        """Of the whole, also where what is damaged was not read to its end."""
        while self.read(_BLOCK):
            pass
        return self._hash.digest()


def _lines(file: Source, reading: Reading) -> Iterator[Line | DamagedGzipError]:
    try:
        yield from reading.found.format.records(read_lines(file))
    except DamagedGzipError as damage:
        reading.damage = f"{damage.reason}: {damage.detail}"
        yield damage


def _record(connection: Connection, ended: list[tuple[Reading, int, int, int]]) -> None:
    rows: dict[FileVersion, tuple[object, ...]] = {}
    for reading, appended, duplicates, rejected in ended:
        done = reading.done
        counts = done.appended + appended, done.duplicates + duplicates, done.rejected + rejected
        content = reading.sha256, reading.found.format.name, reading.damage
        rows[reading.version] = *reading.version, sum(counts), *counts, *content
    # What an older release read has no hash, and gets none: it stays where it is.
    connection.execute(
        "INSERT INTO ingested_files AS i (file, size, modified_ns, read, appended, duplicates, rejected, "
        "sha256, format, damage) "
        "SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], "
        "%s::bigint[], %s::bigint[], %s::bytea[], %s::text[], %s::text[]) "
        "ON CONFLICT (file, size, modified_ns) DO UPDATE SET (read, appended, duplicates, rejected, sha256, "
        "format, damage, moved_to, finished_at) = (EXCLUDED.read, EXCLUDED.appended, EXCLUDED.duplicates, "
        "EXCLUDED.rejected, EXCLUDED.sha256, EXCLUDED.format, EXCLUDED.damage, NULL, now()) "
        "WHERE (i.sha256, i.format) <> (EXCLUDED.sha256, EXCLUDED.format)",
        [list(column) for column in zip(*(rows[version] for version in sorted(rows)), strict=True)],
    )
    forget(
        connection, {version for reading, *_ in ended for version in (reading.found.version, reading.version)}
    )
    whole = [reading.version.file for reading, *_ in ended if not reading.damage]
    if whole:
        forget_damage(connection, whole)


def _numbers(settled: Settled) -> Iterator[int]:
    yield from settled.appended
    yield from settled.duplicates
    yield from (refused.line for refused in settled.refused)
