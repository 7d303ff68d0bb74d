"""Files that a disk has changed."""

from pathlib import Path


def change_a_bit(file: Path, at: int) -> None:
    """Of the byte at that place; counted from the end where it is negative."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
