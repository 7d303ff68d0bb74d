"""Who trusts a key trusts what it vouches for, and nothing else."""

from datetime import UTC, datetime

import pytest

from eventstore.seals.keyring import Keyring, introduce, read_key_note
from eventstore.seals.note import Note, NoteError, SigningKey, VerifierKey, new_key, read_note, sign

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
FIRST, SECOND, THIRD, MALLORY = (new_key("log") for _ in range(4))


def introduction(key: SigningKey, number: int, after: int, old: SigningKey | VerifierKey | None) -> str:
    return introduce(key, number=number, after=after, old=old, reason="a test", time=NOW)


#: FIRST signs 1 to 10, SECOND 11 to 20, THIRD the rest.
NOTES = [
    introduction(FIRST, 1, 0, None),
    introduction(SECOND, 2, 10, FIRST),
    introduction(THIRD, 3, 20, SECOND),
]


def by(key: SigningKey) -> Note:
    return read_note(sign("a checkpoint\n", key))


@pytest.mark.parametrize("trusted", [FIRST, SECOND, THIRD])
def test_who_trusts_one_key_trusts_each_in_its_time(trusted: SigningKey) -> None:
    ring = Keyring([trusted.verifier], NOTES)
    for key, numbers, others in (
        (FIRST, (1, 10), (11, 30)),
        (SECOND, (11, 20), (10, 21)),
        (THIRD, (21, 999), (20,)),
    ):
        assert all(ring.signer(by(key), number) == key.verifier for number in numbers)
        assert all(ring.signer(by(key), number) is None for number in others)
        assert ring.signed_out_of_turn(by(key)) == key.verifier
    assert ring.newest is not None
    assert ring.newest.key == THIRD.verifier


def test_a_key_alone_signs_everything_as_long_as_nobody_says_that_it_was_replaced() -> None:
    ring = Keyring([FIRST.verifier], [])
    assert ring.signer(by(FIRST), 1_000_000) == FIRST.verifier
    assert ring.signer(by(SECOND), 1) is None


def test_a_stranger_who_introduces_himself_is_not_trusted() -> None:
    forged = [
        introduction(MALLORY, 2, 10, FIRST.verifier),  # he has no signature of it
        introduction(MALLORY, 1, 0, None),
        introduction(MALLORY, 4, 30, THIRD.verifier),
    ]
    for trusted in (FIRST, THIRD):
        ring = Keyring([trusted.verifier], [*forged, *NOTES, *forged])
        assert ring.signer(by(MALLORY), 15) is None
        assert ring.signed_out_of_turn(by(MALLORY)) is None
        assert ring.signer(by(SECOND), 15) == SECOND.verifier
        assert all(introduced.key != MALLORY.verifier for introduced in ring.introductions)


def test_after_a_lost_key_the_new_one_is_trusted_anew_and_vouches_for_the_old_one() -> None:
    notes = [NOTES[0], introduction(SECOND, 2, 10, FIRST.verifier)]
    assert Keyring([FIRST.verifier], notes).signer(by(SECOND), 11) is None
    ring = Keyring([SECOND.verifier], notes)
    assert ring.signer(by(FIRST), 10) == FIRST.verifier
    assert ring.signer(by(FIRST), 11) is None
    assert ring.signer(by(SECOND), 11) == SECOND.verifier


def test_an_introduction_that_the_key_itself_did_not_sign_is_refused() -> None:
    text = read_note(NOTES[1]).text
    for written in (
        sign(text, FIRST),
        sign(text.replace("after 10", "after 010"), SECOND),
        "x",
        sign("x\n", FIRST),
    ):
        with pytest.raises(NoteError):
            read_key_note(written)


def test_a_reason_of_any_characters_makes_a_readable_note() -> None:
    written = introduce(SECOND, number=2, after=1, old=FIRST, reason="a\nb\x1b[31m\u2028 c", time=NOW)
    assert read_key_note(written)[0].reason == "a b [31m c"
    assert read_key_note(introduce(SECOND, number=2, after=1, old=FIRST, reason="\n", time=NOW))


def test_no_trusted_key_is_no_key() -> None:
    assert Keyring([], NOTES).signer(by(FIRST), 1) is None
