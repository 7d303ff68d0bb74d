"""A key is replaced by one that it vouches for; a lost one not in secret; a crash loses neither."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.changing import change_key_of
from eventstore.seals.checkpoint import read_checkpoint, signed
from eventstore.seals.errors import KeyMissingError, SealError
from eventstore.seals.keyring import introduce
from eventstore.seals.note import SigningKey, new_key, read_signing_key
from eventstore.seals.outside import KEY_VARIABLE, Outside, read_trusted
from eventstore.seals.proof import check_proof
from eventstore.seals.proving import prove_event, prove_growth, sealed_checkpoint
from eventstore.seals.sealing import seal
from eventstore.seals.verifying import ALTERED, INTACT, verify
from tests.seals.tampering import altering

Append = Callable[..., list[UUID]]


def key_of(outside: Outside) -> SigningKey:
    key = outside.signing_key()
    assert key is not None
    return key


@pytest.fixture
def first(session: Connection, outside: Outside, append: Append) -> SigningKey:
    """A sealed log, and its first key."""
    append(3)
    seal(session, outside)
    return key_of(outside)


def sealed_on(session: Connection, outside: Outside, append: Append) -> None:
    append(2)
    seal(session, outside)


def test_a_new_key_signs_what_follows_and_who_trusts_either_trusts_all(
    session: Connection, outside: Outside, append: Append, first: SigningKey
) -> None:
    for number in (2, 3):
        changed = change_key_of(session, outside)
        assert (changed.note.number, changed.to_do) == (number, None)
        assert changed.note.key == key_of(outside).verifier
        sealed_on(session, outside, append)
    assert outside.key_file.stat().st_mode & 0o777 == 0o600
    assert not outside.next_key_file.exists()
    assert len(outside.folder.key_notes()) == 3
    newest = sealed_checkpoint(session)
    assert newest.note.is_signed_by(key_of(outside).verifier)
    growth = prove_growth(session, sealed_checkpoint(session, 1), newest)
    (id_,) = session.execute("SELECT id FROM order_events LIMIT 1").fetchone() or ()
    for trusted in (first.verifier, key_of(outside).verifier):
        assert verify(session, outside, keys=[trusted]).verdict == INTACT
        assert check_proof(growth, [trusted]).verdict == "proven"
        assert check_proof(prove_event(session, id_), [trusted]).verdict == "proven"


def test_who_has_stolen_an_old_key_cannot_sign_what_follows(
    session: Connection, outside: Outside, append: Append, first: SigningKey
) -> None:
    change_key_of(session, outside)
    sealed_on(session, outside, append)
    made = sealed_checkpoint(session).checkpoint
    with altering(session):
        session.execute(
            "UPDATE seal_checkpoints SET note = %s WHERE number = 2", (signed(made, first).written,)
        )
    kinds = {problem.kind for problem in verify(session, outside, keys=[first.verifier]).problems}
    assert "checkpoint_forged" in kinds
    append(1)
    with pytest.raises(SealError):
        seal(session, outside)
    stolen = Outside(outside.home / "thief", {KEY_VARIABLE: first.secret})
    with pytest.raises(KeyMissingError, match="was replaced by"):
        seal(session, stolen)


def test_a_lost_key_is_replaced_for_a_reason_and_has_to_be_trusted_anew(
    session: Connection, outside: Outside, append: Append, first: SigningKey
) -> None:
    with pytest.raises(SealError, match="is not lost"):
        change_key_of(session, outside, lost="no")
    outside.key_file.unlink()
    append(1)
    with pytest.raises(KeyMissingError, match="--lost"):
        seal(session, outside)
    changed = change_key_of(session, outside, lost="the disk\nbroke")
    assert changed.note.reason == "lost: the disk broke"
    seal(session, outside)
    assert verify(session, outside).verdict == INTACT  # its home vouches for the new key
    assert verify(session, outside, keys=[key_of(outside).verifier]).verdict == INTACT
    found = verify(session, outside, keys=[first.verifier])
    assert found.verdict == ALTERED
    assert {(p.kind, p.checkpoint) for p in found.problems} == {("checkpoint_forged", 2)}


def test_a_strangers_key_in_the_table_is_copied_nowhere_and_stops_no_change_of_keys(
    session: Connection, outside: Outside, append: Append, first: SigningKey
) -> None:
    stranger = new_key(first.name)
    note = introduce(
        stranger, number=2, after=0, old=first.verifier, reason="x", time=datetime(2026, 3, 3, tzinfo=UTC)
    )
    records.record_key(session, 2, str(stranger.verifier), 0, note)
    append(1)
    done = seal(session, outside)
    assert "1 of the keys" in " ".join(done.warnings)
    assert len(outside.folder.key_notes()) == 1
    assert change_key_of(session, outside).note.number == 3
    sealed_on(session, outside, append)
    outside.key_file.unlink()  # now the folder says whom to trust
    assert stranger.verifier not in outside.trusted()
    assert len(outside.trusted()) == 2
    assert verify(session, outside).verdict == INTACT


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_key_that_is_said_to_be_lost_is_the_one_that_signed_and_no_strangers(
    session: Connection, outside: Outside, append: Append, first: SigningKey, with_folder: bool
) -> None:
    stranger = new_key(first.name)
    note = introduce(
        stranger, number=2, after=0, old=first.verifier, reason="x", time=datetime(2026, 3, 3, tzinfo=UTC)
    )
    records.record_key(session, 2, str(stranger.verifier), 0, note)
    outside.key_file.unlink()
    if not with_folder:
        outside.folder.path.rename(outside.home / "aside")
    changed = change_key_of(session, outside, lost="a test")
    assert (changed.note.replaces, changed.note.number) == (first.verifier, 3)
    append(1)
    assert seal(session, outside).checkpoint == 2
    assert verify(session, outside).verdict == INTACT


def test_a_stranger_with_the_database_cannot_declare_the_key_lost(
    session: Connection, outside: Outside, append: Append, first: SigningKey, tmp_path: Path
) -> None:
    stranger = Outside(tmp_path / "stranger", {})
    change_key_of(session, stranger, lost="believe me")
    append(1)
    seal(session, stranger)
    found = verify(session, outside)
    assert {p.kind for p in found.problems} == {"checkpoint_forged"}
    append(1)
    with pytest.raises(SealError):
        seal(session, outside)


@pytest.mark.usefixtures("first")
def test_a_change_that_was_killed_after_its_commit_is_finished_by_the_next_seal(
    session: Connection, outside: Outside, append: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(_: Outside) -> None:
        raise Killed

    old = key_of(outside)
    with monkeypatch.context() as patched:
        patched.setattr(Outside, "put_next_key_in_place", kill)
        with pytest.raises(Killed):
            change_key_of(session, outside)
    assert key_of(outside).verifier == old.verifier
    append(1)
    assert seal(session, outside).checkpoint == 2
    assert key_of(outside).verifier != old.verifier
    assert not outside.next_key_file.exists()
    assert verify(session, outside).verdict == INTACT


@pytest.mark.usefixtures("first")
def test_a_change_that_was_killed_before_its_commit_has_not_happened(
    session: Connection, outside: Outside, append: Append
) -> None:
    left = new_key(key_of(outside).name)
    outside.keep_key(left, outside.next_key_file)
    sealed_on(session, outside, append)
    assert key_of(outside).verifier != left.verifier
    assert change_key_of(session, outside).note.key == left.verifier
    sealed_on(session, outside, append)
    assert verify(session, outside).verdict == INTACT


def test_a_key_of_the_environment_is_replaced_by_a_person(
    session: Connection, append: Append, home: Path
) -> None:
    append(1)
    given = Outside(home, {KEY_VARIABLE: new_key("acme.example/log").secret})
    seal(session, given)
    changed = change_key_of(session, given)
    assert changed.to_do is not None
    assert KEY_VARIABLE in changed.to_do
    append(1)
    with pytest.raises(KeyMissingError, match="was replaced by"):
        seal(session, given)
    following = Outside(home, {KEY_VARIABLE: given.next_key_file.read_text()})
    assert seal(session, following).checkpoint == 2
    with pytest.raises(SealError, match="remove the file"):
        change_key_of(session, following)
    following.next_key_file.unlink()
    assert change_key_of(session, following).note.number == 3
    assert verify(session, following, keys=[key_of(given).verifier]).verdict == INTACT


def test_before_the_first_seal_there_is_no_key_to_replace(session: Connection, outside: Outside) -> None:
    with pytest.raises(SealError, match="nothing is sealed yet"):
        change_key_of(session, outside)


@pytest.mark.parametrize("text", ["", "x", "log+00000000+AAAA", "PRIVATE+KEY+log+00000000+AAAA"])
def test_a_key_to_trust_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SealError, match="public key"):
        read_trusted(text)


@pytest.mark.usefixtures("first")
def test_no_error_says_a_word_of_the_private_key(
    outside: Outside, session: Connection, append: Append
) -> None:
    secret = outside.key_file.read_text().strip()
    other = Outside(outside.home, {KEY_VARIABLE: secret[:-3]})
    append(1)
    for bad in (other, Outside(outside.home / "x", {KEY_VARIABLE: new_key("else").secret})):
        with pytest.raises(SealError) as refused:
            seal(session, bad)
        assert secret[-25:-5] not in str(refused.value)
    assert read_checkpoint(sealed_checkpoint(session).written).checkpoint.number == 1
    assert read_signing_key(secret).secret == secret
