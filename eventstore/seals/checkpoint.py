"""A checkpoint: what was sealed, up to where, with the root of each tree, as a text that is signed. Pure."""

import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from eventstore.seals.note import Note, NoteError, SigningKey, read_note, sign

#: How an event becomes a leaf; see sql/leaf_1.sql. A new format is another number, from a stated size on.
LEAF_FORMAT = 1

_TEXT = re.compile(
    r"""(?P<log>[^\n]+)
checkpoint (?P<number>[0-9]{1,18})
epoch (?P<epoch>[0-9]{1,9})
leaf (?P<leaf_format>[0-9]{1,9})
size (?P<size>[0-9]{1,18})
horizon (?P<horizon>[0-9a-f-]{36})
time (?P<time>[0-9TZ:.-]{24})
previous (?P<previous>none|[0-9a-f]{64})
(?P<trees>(?:tree [0-9]{1,4} [0-9]{1,18} [A-Za-z0-9+/]{43}=\n)*)""",
    re.ASCII,
)


class Head(NamedTuple):
    """How far a tree has grown: what is known of it outside of the database."""

    size: int
    root: bytes


class Checkpoint(NamedTuple):
    log: str  #: the name of the log: that of its keys
    number: int  #: 1, 2, 3 … within the log
    epoch: int  #: which history of the log: another one after each restore that somebody declared
    leaf_format: int
    horizon: UUID  #: every event up to here is in it, in all buckets
    time: datetime  #: by the database's clock, which nothing rests on
    previous: str | None  #: the digest of the checkpoint before
    heads: tuple[Head, ...]  #: a head a bucket

    @property
    def size(self) -> int:
        """Events in all."""
        return sum(head.size for head in self.heads)

    @property
    def text(self) -> str:
        trees = (
            f"tree {bucket} {head.size} {b64encode(head.root).decode()}\n"
            for bucket, head in enumerate(self.heads)
        )
        return (
            f"{self.log}\ncheckpoint {self.number}\nepoch {self.epoch}\nleaf {self.leaf_format}\n"
            f"size {self.size}\nhorizon {self.horizon}\ntime {_time_text(self.time)}\n"
            f"previous {self.previous or 'none'}\n{''.join(trees)}"
        )


class Signed(NamedTuple):
    """A checkpoint as it was found, with its signatures."""

    checkpoint: Checkpoint
    note: Note
    written: str  #: the whole of it, byte for byte

    @property
    def digest(self) -> str:
        return self.note.digest


def signed(checkpoint: Checkpoint, key: SigningKey) -> Signed:
    return read_checkpoint(sign(checkpoint.text, key))


def read_checkpoint(written: str) -> Signed:
    """Raises NoteError for what is no checkpoint. Who signed it is not looked at."""
    note = read_note(written)
    found = _TEXT.fullmatch(note.text)
    if found is None:
        raise NoteError("it is no checkpoint: its lines are not those of one")
    try:
        heads = [line.split(" ")[1:] for line in found["trees"].splitlines()]
        checkpoint = Checkpoint(
            log=found["log"],
            number=int(found["number"]),
            epoch=int(found["epoch"]),
            leaf_format=int(found["leaf_format"]),
            horizon=UUID(found["horizon"]),
            time=datetime.strptime(found["time"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC),
            previous=None if found["previous"] == "none" else found["previous"],
            heads=tuple(Head(int(size), b64decode(root, validate=True)) for _, size, root in heads),
        )
    except ValueError:
        raise NoteError("it is no checkpoint: one of its values makes no sense") from None
    if checkpoint.text != note.text:  # numbers with zeros in front, a sum that is wrong, trees in disorder
        raise NoteError("it is no checkpoint: its lines contradict each other")
    return Signed(checkpoint, note, written)


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
