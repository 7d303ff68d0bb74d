"""Notes and keys have the form of the standard, and whatever is changed in them is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.seals.note import (
    NoteError,
    SigningKey,
    new_key,
    read_note,
    read_signing_key,
    read_verifier_key,
    sign,
)

#: The example in the documentation of golang.org/x/mod/sumdb/note, where the format comes from.
PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
NOTE = (
    f"{TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)


def test_the_example_of_the_standard_comes_out_byte_for_byte() -> None:
    key = read_signing_key(PRIVATE)
    assert str(key.verifier) == PUBLIC
    assert key.secret == PRIVATE
    assert sign(TEXT, key) == NOTE
    assert read_note(NOTE).is_signed_by(read_verifier_key(PUBLIC))


def test_a_note_of_two_keys_is_signed_by_both_and_by_no_third() -> None:
    old, new, other = (new_key("somebody") for _ in range(3))
    note = read_note(sign("one\n\ntwo\n", old, new))
    assert note.text == "one\n\ntwo\n"
    assert note.is_signed_by(old.verifier)
    assert note.is_signed_by(new.verifier)
    assert note.signer([other.verifier, new.verifier]) == new.verifier
    assert note.signer([other.verifier]) is None


def test_a_changed_text_or_signature_is_not_signed() -> None:
    key = read_verifier_key(PUBLIC)
    assert not read_note(NOTE.replace("answer", "Answer")).is_signed_by(key)
    assert not read_note(NOTE.replace("ZJkuBS", "ZJkuBT")).is_signed_by(key)
    assert not read_note(NOTE.replace("— PeterNeumann", "— PeterNewmann")).is_signed_by(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no note",
        TEXT,
        NOTE[:-1],
        NOTE.replace("—", "-"),
        NOTE.replace("x08go", "x0*go"),
        f"\t{NOTE}",
        f"{NOTE}\n",
        "\n\n— a b\n",
        f"{TEXT}\n— PeterNeumann \n",
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        read_note(text)


@given(st.text())
def test_no_text_does_anything_worse_than_being_refused(text: str) -> None:
    for read in (read_note, read_signing_key, read_verifier_key):
        with pytest.raises(NoteError):
            read(text)


@given(st.integers(0, len(PUBLIC) - 1), st.sampled_from("AZ+/ 0\n"))
def test_a_key_with_another_character_in_it_is_refused(place: int, character: str) -> None:
    changed = PUBLIC[:place] + character + PUBLIC[place + 1 :]
    if changed != PUBLIC:
        with pytest.raises(NoteError):
            read_verifier_key(changed)


def test_a_private_key_is_not_taken_for_a_public_one_and_not_shown() -> None:
    with pytest.raises(NoteError) as refused:
        read_verifier_key(PRIVATE)
    key = new_key("somebody")
    for text in (str(refused.value), repr(key), str(key), f"{key}"):
        assert "AYEKFAL" not in text
        assert key.secret not in text
        assert key.secret[-20:] not in text


def test_names_that_would_break_a_line_of_a_note_are_refused() -> None:
    for name in ("", "a b", "a+b", "a\nb", "a\u00a0b", "a\u2028b"):
        with pytest.raises(NoteError):
            new_key(name)


def test_a_new_key_is_another_one_each_time() -> None:
    keys: list[SigningKey] = [new_key("somebody") for _ in range(3)]
    assert len({str(key.verifier) for key in keys}) == 3
    assert read_signing_key(keys[0].secret).verifier == keys[0].verifier
