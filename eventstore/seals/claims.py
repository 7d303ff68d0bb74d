"""What was signed: the checkpoints in the database and those outside, and whether they agree."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from eventstore.kernel.buckets import is_possible
from eventstore.kernel.counted import counted
from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.checkpoint import LEAF_FORMAT, Signed, read_checkpoint
from eventstore.seals.epochs import current_epoch
from eventstore.seals.folder import Unreadable
from eventstore.seals.keyring import Keyring
from eventstore.seals.note import NoteError
from eventstore.seals.problems import NAMED, Problem
from eventstore.seals.walk import Boundary

#: So many checkpoints are kept in mind, spread evenly over all: memory stays flat however many there are.
_KEPT = 4096


class Window(NamedTuple):
    """Which checkpoints are looked at, by their numbers; the newest is always one of them."""

    first: int = 1
    last: int = 2**62


ALL = Window()


class Outsider(NamedTuple):
    """A checkpoint that was found outside of the database."""

    signed: Signed
    where: Path


class Claims:
    """Gathers what checkpoints say. Give it those of the database first, then those outside."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self.problems: list[Problem] = []
        self.doubts: list[str] = []
        self.gaps: list[str] = []  #: what a declared restore took away: known, and no problem
        self.head: Signed | None = None  #: the newest that counts, up to the last number in the database
        self.beyond: Outsider | None = None  #: the newest that counts outside, where it is behind that
        self.outside = 0  #: how many copies outside were found to be right
        self.log: str | None = None
        self._kept: dict[int, Signed] = {}
        self._last_row = 0
        self._every, self._seen = 1, 0
        self._epoch_begins: dict[int, int] = {}

    def take_database(self, connection: Connection, window: Window) -> None:
        """The checkpoints of the database in a window, and the newest: an unbroken chain, each signed."""
        before = self._one_before(connection, window)
        for row in records.rows(connection, window.first, window.last):
            self._last_row = row.number
            signed = self._read(row)
            if signed is None:
                continue
            made = signed.checkpoint
            expected = before.checkpoint.number + 1 if before else window.first
            if row.number > window.last:
                pass  # the newest, out of turn
            elif made.number != expected:
                self._report(
                    "checkpoint_missing",
                    f"{_numbers(expected, made.number - 1)} missing in the database",
                    expected,
                )
            elif made.previous != (before.digest if before else None):
                self._report(
                    "checkpoint_changed",
                    f"checkpoint {made.number} does not follow the one before it: one of them was replaced",
                    made.number,
                )
            before = signed
            if self._is_genuine(signed, "in the database"):
                self._epoch_begins.setdefault(made.epoch, made.number)
                self.log = self.log or made.log
                self.head = signed
                self._keep(signed)

    def _one_before(self, connection: Connection, window: Window) -> Signed | None:
        """What the first of a window follows; it was looked at in its turn."""
        written = records.note_of(connection, window.first - 1)
        try:
            return read_checkpoint(written) if written else None
        except NoteError:
            return None

    def take_outside(
        self, connection: Connection, found: Iterable[tuple[Path, Signed | Unreadable]], *, keep: bool = False
    ) -> None:
        """Copies that were kept elsewhere: each is in the database, word for word. ``keep``: each is checked
        against the log, however many there are.
        """
        for where, copy in found:
            if isinstance(copy, Unreadable):
                self.doubts.append(f"{where} is no checkpoint: {copy.reason}")
                continue
            made = copy.checkpoint
            if self.log is not None and made.log != self.log:
                self._report(
                    "another_log",
                    f"{where} is of the log {made.log}, and the database holds {self.log}",
                    made.number,
                )
                continue
            if not self._is_genuine(copy, f"in {where}"):
                continue
            self.outside += 1
            self._match(connection, Outsider(copy, where), keep)

    def boundaries(self, bucket: int, upto: int) -> tuple[Boundary, ...]:
        """What the checkpoints that are kept in mind say of a bucket, up to a number, the head's left out."""
        found: dict[int, Boundary] = {}
        for number in sorted(self._kept):
            if number <= upto and (self.head is None or number != self.head.checkpoint.number):
                size, root = self._kept[number].checkpoint.heads[bucket]
                known = found.get(size)
                if known is None:
                    found[size] = Boundary(size, root, number, number)
                elif known.root == root:
                    found[size] = known._replace(last=number)
        return tuple(found[size] for size in sorted(found))

    def _match(self, connection: Connection, outsider: Outsider, keep: bool) -> None:
        signed, where = outsider
        made = signed.checkpoint
        begins = [number for epoch, number in self._epoch_begins.items() if epoch > made.epoch]
        is_later = made.number > self._last_row and made.epoch < current_epoch(connection)
        if is_later or (begins and made.number >= min(begins)):
            self.gaps.append(
                f"checkpoint {made.number} of epoch {made.epoch}, {where}: taken away by a declared restore"
            )
        elif made.number > self._last_row:
            if self.beyond is None or _order(signed) > _order(self.beyond.signed):
                self.beyond = outsider
        else:
            written = records.note_of(connection, made.number)
            is_same = written is not None and (
                written == signed.written or _text(written) == signed.note.text
            )
            if written is not None and not is_same:
                self._report(
                    "checkpoint_changed",
                    f"checkpoint {made.number} says one thing in the database and another in {where}",
                    made.number,
                )
            if keep or not is_same:
                self._kept[made.number] = signed  # what lies outside is harder to reach
            if self.head is None or _order(signed) > _order(self.head):
                self.head = signed

    def _read(self, row: records.Row) -> Signed | None:
        try:
            signed = read_checkpoint(row.note)
        except NoteError as error:
            self._report("checkpoint_changed", f"checkpoint {row.number} cannot be read: {error}", row.number)
            return None
        made = signed.checkpoint
        said = (made.number, made.epoch, made.size, made.horizon, made.time)
        if said != (row.number, row.epoch, row.size, row.horizon, row.sealed_at):
            self._report(
                "checkpoint_changed",
                f"the row of checkpoint {row.number} says something else than its note",
                row.number,
            )
        return signed

    def _is_genuine(self, signed: Signed, where: str) -> bool:
        made = signed.checkpoint
        trees = len(made.heads)
        if not is_possible(trees) or made.leaf_format != LEAF_FORMAT:
            self.doubts.append(
                f"checkpoint {made.number} {where} is of leaf format {made.leaf_format} with "
                f"{trees} trees, which this release does not know: use a newer one"
            )
            return False
        if self.head is not None and trees != len(self.head.checkpoint.heads):
            self.doubts.append(
                f"checkpoint {made.number} {where} is of a log of {counted(trees, 'bucket')}, and those "
                f"before it of one of {len(self.head.checkpoint.heads)}: a log with events keeps them"
            )
            return False
        if not self._ring.anchors or self._ring.signer(signed.note, made.number) is not None:
            return True
        other = self._ring.signed_out_of_turn(signed.note)
        self._report(
            "checkpoint_forged",
            f"checkpoint {made.number} {where} is "
            + (
                f"signed by {other}, whose turn it was not"
                if other
                else "not signed by a key that is trusted"
            ),
            made.number,
        )
        return False

    def _report(self, kind: str, detail: str, checkpoint: int) -> None:
        if len(self.problems) < NAMED:
            self.problems.append(Problem(kind=kind, detail=detail, checkpoint=checkpoint))

    def _keep(self, signed: Signed) -> None:
        if self._seen % self._every == 0:
            self._kept[signed.checkpoint.number] = signed
            if len(self._kept) > _KEPT:
                self._every *= 2
                kept = sorted(self._kept)
                self._kept = {number: self._kept[number] for number in kept[::2]}
        self._seen += 1


def _order(signed: Signed) -> tuple[int, int]:
    return signed.checkpoint.epoch, signed.checkpoint.number


def _numbers(first: int, last: int) -> str:
    return f"checkpoint {first} is" if last <= first else f"checkpoints {first} to {last} are"


def _text(written: str) -> str | None:
    try:
        return read_checkpoint(written).note.text
    except NoteError:
        return None
