"""The lines of a file, plain or gzip, of any size and any shape, with flat memory."""

import zlib
from collections.abc import Iterator
from typing import Protocol

from eventstore.kernel.incoming import Line

#: The longest line that is read as an event. Of a longer one only this much is kept.
MAX_LINE = 1 << 20

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_FORMAT = 31  # zlib: a gzip header and checksum, the largest window
_COMPRESSED_READ = 1 << 16
_BLOCK = 1 << 18
#: Real events shrink to a tenth, and the very same line again and again to a hundredth.
_BOMB_RATIO = 200
_BOMB_BYTES = 1 << 26


class DamagedGzipError(Exception):
    """A gzip file that cannot be read to its end. All that can be read was read before."""

    def __init__(self, reason: str, detail: str, rest: Line) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.rest = rest  #: what there was of the line where it broke off


class Source(Protocol):
    """What lines are read from, as a binary file can be."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


class _BrokenOffError(Exception):
    pass


class _BombError(Exception):
    pass


def read_lines(file: Source) -> Iterator[Line]:
    """The lines of ``file``, which is open at its beginning; the last one may lack its line end.

    Raises DamagedGzipError after the last line that could be read.
    """
    magic = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    number, kept, size = 1, b"", 0  # the line that goes on into the next block
    try:
        for block in _gunzip(file) if magic == _GZIP_MAGIC else iter(lambda: file.read(_BLOCK), b""):
            first, *others = block.split(b"\n")
            kept += first[: MAX_LINE - len(kept)]
            size += len(first)
            if others:
                yield Line(number, kept, size)
                for raw in others[:-1]:
                    number += 1
                    yield Line(number, raw, len(raw))
                number, kept, size = number + 1, others[-1], len(others[-1])
    except _BrokenOffError:
        detail = "the file ends in the middle of its gzip data: it was cut off, or read while being written"
        raise DamagedGzipError("truncated_gzip", detail, Line(number, kept, size)) from None
    except _BombError:
        detail = (
            f"its content is more than {_BOMB_RATIO} times as large as the file: no more of it was read. "
            "Deliver it again in plain text if it is meant like this"
        )
        raise DamagedGzipError("gzip_bomb", detail, Line(number, kept, size)) from None
    except zlib.error as error:
        detail = (
            f"{error}. Lines appended from this file may differ from what was sent: deliver it again, "
            "differences will be rejected as identity_conflict"
        )
        raise DamagedGzipError("corrupt_gzip", detail, Line(number, kept, size)) from None
    if kept:
        yield Line(number, kept, size)


def _gunzip(file: Source) -> Iterator[bytes]:
    """What ``file``, one or more gzip streams, contains; up to the very byte where it is damaged."""
    stream, begun = zlib.decompressobj(_GZIP_FORMAT), False
    packed = unpacked = 0
    while compressed := file.read(_COMPRESSED_READ):
        packed += len(compressed)
        if not begun:
            compressed = compressed.lstrip(b"\0")  # padding between streams is allowed
        while compressed:
            undamaged = stream.copy()
            try:
                block = stream.decompress(compressed, _BLOCK)
            except zlib.error:
                yield from _bytewise(undamaged, compressed)
                raise
            if block:
                yield block
            unpacked += len(block)
            if unpacked > max(_BOMB_BYTES, _BOMB_RATIO * packed):
                raise _BombError
            begun, compressed = True, stream.unconsumed_tail
            if stream.eof:
                compressed = stream.unused_data.lstrip(b"\0")
                stream, begun = zlib.decompressobj(_GZIP_FORMAT), False
    if begun:
        yield stream.flush()
        raise _BrokenOffError


def _bytewise(stream: "zlib._Decompress", compressed: bytes) -> Iterator[bytes]:
    """The blocks before the damage, then the error."""
    for byte in compressed:
        if block := stream.decompress(bytes((byte,))):
            yield block
