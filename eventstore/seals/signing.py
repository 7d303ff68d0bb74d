"""Who signs: the private key of this log, its introduction, and its change for another one."""

from datetime import datetime

from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.checkpoint import Signed
from eventstore.seals.errors import KeyMissingError, SealError
from eventstore.seals.keyring import KeyNote, Keyring, introduce, read_key_note
from eventstore.seals.note import NoteError, SigningKey, VerifierKey, new_key
from eventstore.seals.outside import KEY_VARIABLE, Outside

_LOST = "where it is lost, see `eventstore seal-key --lost` and docs/seals.md"


def signing_key(
    connection: Connection, outside: Outside, newest: Signed | None, now: datetime
) -> tuple[SigningKey, Keyring]:
    """The private key, whose turn it is, with all that it vouches for.

    Where nothing was ever sealed, it is introduced, and made if need be. Raises KeyMissingError where it is
    not here, SealError where the newest checkpoint is not signed by a key of this log.
    """
    introductions = records.key_notes(connection)
    finish_change(outside, introductions)
    key = outside.signing_key()
    if not introductions and newest is None:
        key = key or outside.make_key()
        introductions = [introduce(key, number=1, after=0, old=None, reason="first", time=now)]
        records.record_key(connection, 1, str(key.verifier), 0, introductions[0])
    if key is None:
        raise KeyMissingError(
            f"the private key of this log is neither in {outside.key_file} nor in {KEY_VARIABLE}: put it "
            f"there; {_LOST}"
        )
    ring = Keyring([key.verifier], introductions)
    where = KEY_VARIABLE if outside.key_is_given else str(outside.key_file)
    if ring.newest is None:
        raise KeyMissingError(
            f"the key {key.verifier} in {where} is not one of this log: put its own private key there; "
            f"{_LOST}"
        )
    if ring.newest.key != key.verifier:
        raise KeyMissingError(
            f"the key {key.verifier} in {where} was replaced by {ring.newest.key}: put that private key "
            f"there; {_LOST}"
        )
    if newest is not None and ring.signer(newest.note, newest.checkpoint.number) is None:
        raise SealError(
            f"checkpoint {newest.checkpoint.number} in the database is not signed by a key of this log: "
            "somebody put it there; nothing is sealed on top of it. `eventstore verify` says more"
        )
    return key, ring


def change_key(
    connection: Connection, outside: Outside, newest: Signed, now: datetime, *, lost: str | None = None
) -> KeyNote:
    """Replace the key by a new one, signed by the old one or, where that is ``lost``, for that reason.

    Within the transaction of the caller; `finish_change` puts the new private key in its place afterwards.
    """
    introductions = records.key_notes(connection)
    old: SigningKey | VerifierKey
    if lost is None:
        old, ring = signing_key(connection, outside, newest, now)
        assert ring.newest is not None
        log = ring.newest.log
    else:
        old, log = _lost_key(outside, newest, introductions), newest.checkpoint.log
        _refuse_if_here(outside, old)
    number = records.next_key_number(connection)
    following = _following_key(outside, log, introductions)
    note = introduce(
        following,
        number=number,
        after=newest.checkpoint.number,
        old=old,
        reason=f"lost: {lost}" if lost is not None else "change",
        time=now,
    )
    if not records.record_key(connection, number, str(following.verifier), newest.checkpoint.number, note):
        raise SealError(f"key {number} is in the database already: run it again")
    return read_key_note(note)[0]


def finish_change(outside: Outside, introductions: list[str]) -> bool:
    """Put the new private key in the place of the old one once it is introduced; False where there is none to
    put. Where the environment holds the key, a person has to do that.
    """
    following = outside.next_signing_key()
    if following is None or outside.key_is_given or following.verifier not in _introduced(introductions):
        return False
    outside.put_next_key_in_place()
    return True


def _following_key(outside: Outside, log: str, introductions: list[str]) -> SigningKey:
    """A new key; one that a change made which was killed before it came to anything is as good."""
    found = outside.next_signing_key()
    if found is not None and found.name == log and found.verifier not in _introduced(introductions):
        return found
    if found is not None:
        raise SealError(
            f"{outside.next_key_file} holds the key of an earlier change: put it into {KEY_VARIABLE} and "
            "remove the file"
        )
    key = new_key(log)
    if not outside.keep_key(key, outside.next_key_file):
        raise SealError(f"{outside.next_key_file} is there already: somebody else changes the key")
    return key


def _refuse_if_here(outside: Outside, current: VerifierKey) -> None:
    key = outside.signing_key()
    if key is not None and key.verifier == current:
        raise SealError("the private key is not lost, it is here: `eventstore seal-key --change` replaces it")
    if key is not None:
        where = f"unset {KEY_VARIABLE}" if outside.key_is_given else f"move {outside.key_file} away"
        raise SealError(f"{where} first: it holds another key, which would be overwritten or preferred")


def _introduced(introductions: list[str]) -> set[VerifierKey]:
    found = set()
    for written in introductions:
        try:
            found.add(read_key_note(written)[0].key)
        except NoteError:
            continue
    return found


def _lost_key(outside: Outside, newest: Signed, introductions: list[str]) -> VerifierKey:
    """The key that signed the newest checkpoint; of those that the folder vouches for, where it does."""
    trusted = outside.trusted()
    if trusted:
        signer = Keyring(trusted, introductions).signer(newest.note, newest.checkpoint.number)
    else:
        signer = newest.note.signer(_introduced(introductions))
    if signer is None:
        raise SealError(
            f"checkpoint {newest.checkpoint.number} in the database is not signed by a key of this log: "
            "somebody put it there; `eventstore verify` says more"
        )
    return signer
