"""A checkpoint is read as it was written, or refused."""

import re
from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventstore.seals.checkpoint import Checkpoint, Head, read_checkpoint, signed
from eventstore.seals.note import NoteError, new_key, sign
from eventstore.seals.tree import EMPTY_ROOT, leaf_hash

KEY = new_key("logs.example/orders")
CHECKPOINT = Checkpoint(
    log="logs.example/orders",
    number=7,
    epoch=1,
    leaf_format=1,
    horizon=UUID("01a20873-6bc1-7fff-bfff-ffffffffffff"),
    time=datetime(2026, 3, 3, 12, 0, 0, 5000, tzinfo=UTC),
    previous="ab" * 32,
    heads=(Head(3, leaf_hash(b"a")), Head(0, EMPTY_ROOT), Head(1_000_000_007, leaf_hash(b"b"))),
)


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    written = signed(CHECKPOINT, KEY)
    assert written.checkpoint == CHECKPOINT
    assert written.note.is_signed_by(KEY.verifier)
    assert read_checkpoint(written.written) == written
    first = CHECKPOINT._replace(number=1, previous=None)
    assert signed(first, KEY).checkpoint == first


def test_its_text_is_one_that_people_can_read() -> None:
    assert CHECKPOINT.text.startswith(
        "logs.example/orders\ncheckpoint 7\nepoch 1\nleaf 1\nsize 1000000010\n"
        "horizon 01a20873-6bc1-7fff-bfff-ffffffffffff\ntime 2026-03-03T12:00:00.005Z\n"
        f"previous {'ab' * 32}\ntree 0 3 "
    )


@pytest.mark.parametrize(
    ("find", "put"),
    [
        ("checkpoint 7", "checkpoint 07"),
        ("checkpoint 7", "checkpoint -7"),
        ("epoch 1\n", ""),
        ("size 1000000010", "size 1000000011"),
        ("tree 1 ", "tree 2 "),
        ("tree 0 3 ", "tree 0 4 "),
        ("2026-03-03T12", "2026-13-03T12"),
        ("12:00:00.005Z", "12:00:00.0050"),
        ("horizon 01a2", "horizon 01-2"),
        ("previous ab", "previous AB"),
        ("leaf 1\n", "leaf 1\nleaf 1\n"),
        ("tree 1 0 ", "tree 1 0  "),
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused_although_it_is_signed(find: str, put: str) -> None:
    text = CHECKPOINT.text.replace(find, put, 1)
    assert text != CHECKPOINT.text
    with pytest.raises(NoteError):
        read_checkpoint(sign(text, KEY))


def test_a_root_of_another_length_is_refused() -> None:
    text = re.sub("tree 0 3 .*", f"tree 0 3 {'A' * 44}", CHECKPOINT.text)
    with pytest.raises(NoteError):
        read_checkpoint(sign(text, KEY))
