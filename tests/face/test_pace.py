"""What is said of something long while it lasts."""

import pytest

from eventstore.kernel.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lines_of(total: int | None, *steps: tuple[float, int]) -> list[str]:
    """What is said when so many are done so many seconds after the step before."""
    clock, said = Clock(), list[str]()
    pace = Pace("folding", total, said.append, clock=clock)
    for seconds, done in steps:
        clock.now += seconds
        pace(done)
    return said


def test_what_is_over_soon_is_not_spoken_of() -> None:
    assert lines_of(100, (4, 50), (5, 50)) == []


def test_every_ten_seconds_it_says_the_share_the_rate_and_the_time_left() -> None:
    said = lines_of(10_000, (6, 1000), (6, 1000), (6, 1000), (6, 1800))
    assert said == [
        "folding: 2,000 events of 10,000 (20%), 167/s, 48 s left",
        "folding: 4,800 events of 10,000 (48%), 200/s, 26 s left",
    ]


def test_without_a_total_or_beyond_it_there_is_no_share() -> None:
    assert lines_of(None, (10, 1)) == ["folding: 1 event, 0/s"]
    assert lines_of(10, (10, 20)) == ["folding: 20 events, 2/s"]


@pytest.mark.parametrize("total", [0, 10])
def test_nothing_done_yet_is_no_division_by_zero(total: int) -> None:
    assert len(lines_of(total, (11, 0))) == 1
