"""Short turns last as long as somebody needs them, and no longer."""

import sys
from collections.abc import Iterator

import pytest

from eventstore.ingestion.turns import short_turns


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.004)
    yield
    sys.setswitchinterval(before)


def test_turns_are_as_before_when_a_load_ends_by_an_error() -> None:
    with pytest.raises(KeyError), short_turns():
        assert sys.getswitchinterval() < 0.001
        raise KeyError
    assert sys.getswitchinterval() == pytest.approx(0.004)


def test_of_two_loads_the_last_one_to_end_restores_the_turns() -> None:
    first, second = short_turns(), short_turns()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() < 0.001
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == pytest.approx(0.004)


def test_turns_that_are_shorter_already_stay() -> None:
    sys.setswitchinterval(0.0001)
    with short_turns():
        assert sys.getswitchinterval() < 0.0002
