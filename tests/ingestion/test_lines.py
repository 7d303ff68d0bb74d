"""Reading lines: plain and gzip files of any shape, damaged ones, with flat memory."""

import gzip
import io
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.ingestion import lines
from eventstore.ingestion.lines import MAX_LINE, DamagedGzipError, read_lines
from eventstore.kernel.incoming import Line


def read(content: bytes) -> list[bytes]:
    return [line.raw for line in read_lines(io.BytesIO(content))]


def read_damaged(content: bytes) -> tuple[list[bytes], DamagedGzipError]:
    found: list[bytes] = []
    with pytest.raises(DamagedGzipError) as raised:
        found.extend(line.raw for line in read_lines(io.BytesIO(content)))
    return found, raised.value


def noise(count: int) -> list[bytes]:
    """Lines that do not compress, with and without content."""
    source = random.Random(7)
    return [source.randbytes(source.randrange(200)).replace(b"\n", b" ") for _ in range(count)]


@given(st.binary(max_size=60), st.integers(1, 9))
def test_the_lines_are_those_between_newlines_however_the_blocks_fall(content: bytes, block: int) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(lines, "_BLOCK", block)
        patched.setattr(lines, "_COMPRESSED_READ", block)
        expected = content.split(b"\n")
        expected = expected if expected[-1] else expected[:-1]
        if content[:2] != b"\x1f\x8b":
            assert read(content) == expected
        assert read(gzip.compress(content)) == expected


def test_lines_are_numbered_from_1_and_empty_ones_count() -> None:
    assert list(read_lines(io.BytesIO(b"a\n\nb"))) == [Line(1, b"a", 1), Line(2, b"", 0), Line(3, b"b", 1)]


def test_gzip_is_known_by_its_magic_bytes_and_may_have_several_parts_and_padding() -> None:
    two = gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n")
    assert read(two) == [b"a", b"bc", b"d"]
    assert read(two + bytes(100_000)) == [b"a", b"bc", b"d"]
    assert read(gzip.compress(b"") + two) == [b"a", b"bc", b"d"]


def test_of_a_longer_line_the_first_megabyte_is_kept_and_the_lines_around_it_are_whole() -> None:
    source = b"before\n" + b"x" * (3 * MAX_LINE) + b"\nafter\n" + b"y" * MAX_LINE
    for content in (source, gzip.compress(source)):
        before, long, after, longest = read_lines(io.BytesIO(content))
        assert (before.raw, after.raw) == (b"before", b"after")
        assert (long.raw, long.size) == (b"x" * MAX_LINE, 3 * MAX_LINE)
        assert (longest.raw, longest.size) == (b"y" * MAX_LINE, MAX_LINE)


def test_a_truncated_gzip_gives_all_whole_lines_and_the_half_one_apart() -> None:
    source = noise(5000)
    whole = gzip.compress(b"\n".join(source))
    for cut in (len(whole) // 3, len(whole) - 1, len(whole) - 8, 11):
        found, error = read_damaged(whole[:cut])
        assert error.reason == "truncated_gzip"
        assert found == source[: len(found)]
        assert source[len(found)].startswith(error.rest.raw)
        assert error.rest.number == len(found) + 1
        # as much as zlib itself gets out of these bytes
        assert b"\n".join([*found, error.rest.raw]) == zlib.decompressobj(31).decompress(whole[:cut])


def test_a_corrupt_gzip_gives_all_lines_before_the_damage() -> None:
    source = noise(1000)
    packer = zlib.compressobj(wbits=31)
    whole = packer.compress(b"\n".join(source)) + packer.flush(zlib.Z_FULL_FLUSH)
    found, error = read_damaged(whole + b"\xff" * 10 + whole)  # no block of deflate begins like that
    assert error.reason == "corrupt_gzip"
    assert [*found, error.rest.raw] == source


def test_a_wrong_checksum_is_found_at_the_end() -> None:
    content = bytearray(gzip.compress(b"a\nb\nc"))
    content[-8] ^= 1
    found, error = read_damaged(bytes(content))
    assert (found, error.rest.raw, error.reason) == ([b"a", b"b"], b"c", "corrupt_gzip")


def test_garbage_after_a_gzip_stream_is_damage() -> None:
    found, error = read_damaged(gzip.compress(b"a\nb\n") + b"garbage\n")
    assert (found, error.rest, error.reason) == ([b"a", b"b"], Line(3, b"", 0), "corrupt_gzip")
