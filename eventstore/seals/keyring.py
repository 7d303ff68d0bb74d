"""Whose signature counts: the keys of a log, each vouched for by the one before it. Pure.

A key is introduced by a note that the key itself signs and, where it replaces another one, that one too. So
who trusts any of the keys trusts those after it, and those before it for what they signed in their time.
Where a key was lost, the old one signs nothing: the new one has to be trusted anew, and vouches for the old.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from eventstore.seals.note import Note, NoteError, SigningKey, VerifierKey, read_note, read_verifier_key, sign

_TEXT = re.compile(
    r"(?P<log>[^\n]+)\nkey (?P<number>[0-9]{1,9})\nverifier (?P<key>[^\n]+)\nafter (?P<after>[0-9]{1,18})\n"
    r"replaces (?P<replaces>[^\n]+)\nreason (?P<reason>[^\n]+)\ntime (?P<time>[0-9TZ:-]{20})\n",
    re.ASCII,
)


class KeyNote(NamedTuple):
    """The introduction of a key."""

    log: str
    number: int  #: 1, 2, 3 … within the log
    key: VerifierKey
    after: int  #: it signs the checkpoints after this one
    replaces: VerifierKey | None
    reason: str
    time: datetime

    @property
    def text(self) -> str:
        return (
            f"{self.log}\nkey {self.number}\nverifier {self.key}\nafter {self.after}\n"
            f"replaces {self.replaces or 'none'}\nreason {self.reason}\n"
            f"time {self.time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n"
        )


def introduce(
    key: SigningKey,
    *,
    number: int,
    after: int,
    old: SigningKey | VerifierKey | None,
    reason: str,
    time: datetime,
) -> str:
    """The note that introduces a key. Given the private key that it replaces, that one signs too."""
    replaces = old.verifier if isinstance(old, SigningKey) else old
    words = " ".join("".join(c if c.isprintable() else " " for c in reason).split()) or "none given"
    text = KeyNote(key.name, number, key.verifier, after, replaces, words, time).text
    return sign(text, key, *([old] if isinstance(old, SigningKey) else []))


def read_key_note(written: str) -> tuple[KeyNote, Note]:
    """Raises NoteError for what does not introduce a key, or is not signed by that key itself."""
    note = read_note(written)
    found = _TEXT.fullmatch(note.text)
    if found is None:
        raise NoteError("it introduces no key: its lines are not those of such a note")
    key = read_verifier_key(found["key"])
    replaces = None if found["replaces"] == "none" else read_verifier_key(found["replaces"])
    try:
        time = datetime.strptime(found["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise NoteError("it introduces no key: its time makes no sense") from None
    introduced = KeyNote(
        found["log"], int(found["number"]), key, int(found["after"]), replaces, found["reason"], time
    )
    if introduced.text != note.text or key.name != introduced.log or not note.is_signed_by(key):
        raise NoteError("it introduces no key: it is not signed by the key that it introduces")
    return introduced, note


class _Term(NamedTuple):
    """Which checkpoints a key may sign: those after ``after``, not after ``until``."""

    key: VerifierKey
    after: int
    until: int | None


class Keyring:
    """The keys that count, as far as what is trusted reaches."""

    def __init__(self, trusted: Iterable[VerifierKey], introductions: Iterable[str]) -> None:
        self.anchors = frozenset(trusted)
        known = self._readable(introductions)
        reached = set(self.anchors)
        for _ in known:  # each round reaches at least one key more, or none
            for introduced, note, _ in known:
                if introduced.key in reached and introduced.replaces:
                    reached.add(introduced.replaces)
                if introduced.replaces in reached and note.is_signed_by(introduced.replaces):
                    reached.add(introduced.key)
        #: Of the keys that count, the first key first: what each note says, and the note.
        self.introduced = sorted(
            ((introduced, written) for introduced, _, written in known if introduced.key in reached),
            key=lambda one: one[0].number,
        )
        self.introductions = [introduced for introduced, _ in self.introduced]
        self._terms = [self._term(key) for key in reached]

    @property
    def newest(self) -> KeyNote | None:
        """The introduction of the key that signs now."""
        return self.introductions[-1] if self.introductions else None

    def signer(self, note: Note, number: int) -> VerifierKey | None:
        """Which key that counts for checkpoint ``number`` signed its note."""
        return note.signer(
            term.key
            for term in self._terms
            if term.after < number and (term.until is None or number <= term.until)
        )

    def signed_out_of_turn(self, note: Note) -> VerifierKey | None:
        """The key that signed it although it was another one's turn; None where no key of these did."""
        return note.signer(term.key for term in self._terms)

    def _term(self, key: VerifierKey) -> _Term:
        begun = [one.after for one in self.introductions if one.key == key]
        ended = [one.after for one in self.introductions if one.replaces == key]
        return _Term(key, max(begun, default=0), min(ended, default=None))

    @staticmethod
    def _readable(introductions: Iterable[str]) -> Sequence[tuple[KeyNote, Note, str]]:
        found: dict[str, tuple[KeyNote, Note, str]] = {}
        for written in introductions:
            try:
                introduced, note = read_key_note(written)
            except NoteError:
                continue  # somebody else's: nobody's word for nothing
            found[note.digest] = (introduced, note, written)
        return list(found.values())
