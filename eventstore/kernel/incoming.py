"""What comes from outside: records of files, the events that they propose, the formats in which they do."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line as it is in the file, without its end; or a record, which a format made of some lines."""

    number: int  #: from 1; of a record that of its first line
    raw: bytes  #: of a very long line only the beginning
    size: int  #: all of it


class RefusedError(ValueError):
    """A record that cannot be appended: a short stable code for the reason, and what is wrong in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Proposed(msgspec.Struct, frozen=True, gc=False):
    """An event as a record tells of it, by the names of CloudEvents. Nothing of it is checked yet.

    None, or a payload without a byte: the record does not say.
    """

    type: str | None
    source: str | None
    id: str | None
    subject: object  #: a UUID, or its text
    time: object  #: a datetime with its zone, or text as RFC 3339 has it
    data: bytes  #: the payload: JSON, UTF-8
    version: int | str | None = None  #: of the payload
    metadata: Mapping[str, object] = {}  #: what else there is to keep: values that JSON can hold


class Format(Protocol):
    """A way in which files tell of events. One object reads many files, several at a time."""

    @property
    def name(self) -> str:
        """Kept with its rejects, so that a retry reads them by it: it never changes."""

    @property
    def description(self) -> str:
        """What its files are, in a few words."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """How the names of its files end, in small letters; behind each there may be a ``.gz``."""

    def records(self, lines: Iterator[Line]) -> Iterator[Line]:
        """The records of a file, which are its lines or made of them, in their order.

        A record can be read without its file, now or in a retry: what it needs of the file, such as the
        header, stands in its ``raw``. Its ``size`` is larger than that where something was cut off.
        """

    def propose(self, record: Line) -> Proposed:
        """The event that a record tells of. Raises RefusedError where it tells of none."""
