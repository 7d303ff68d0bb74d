"""When a person is told, and when not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.alerts.outbox import Waiting, add, delivered, failed, is_due
from eventstore.alerts.problems import Good, Item, Known, Problem, Severity, observe

HOUR, DAY = 3600, 86_400


def bad(key: str = "k", severity: Severity = "error", kind: str = "check") -> Problem:
    return Problem(key=key, kind=kind, severity=severity, title=key, text="why")  # type: ignore[arg-type]


@pytest.fixture
def told() -> Callable[..., list[str]]:
    """Shows the state what is seen at a time; returns what is told."""
    known: dict[str, Known] = {}

    def see(now: float, *seen: Problem | Good) -> list[str]:
        return [f"{item.what} {item.problem.key}" for item in observe(known, seen, now)]

    return see


def test_a_problem_is_told_once_however_often_it_is_seen_and_once_a_day_while_it_lasts(
    told: Callable[..., list[str]],
) -> None:
    assert told(0, bad()) == ["begins k"]
    for minute in range(1, 24 * 60):
        assert told(minute * 60, bad()) == []
    assert told(DAY, bad()) == ["lasts k"]
    assert told(DAY + HOUR, bad()) == []
    assert told(2 * DAY, bad()) == ["lasts k"]


def test_its_end_is_told_when_it_has_been_over_for_two_minutes(told: Callable[..., list[str]]) -> None:
    told(0, bad())
    assert told(60, Good("k")) == []
    assert told(179, Good("k")) == []
    assert told(180, Good("k")) == ["over k"]
    assert told(DAY, Good("k")) == []


def test_what_was_always_well_is_not_told(told: Callable[..., list[str]]) -> None:
    assert told(0, Good("k")) == []
    assert told(DAY, Good("k")) == []


def test_a_failure_between_two_looks_is_told_although_it_is_over(told: Callable[..., list[str]]) -> None:
    assert told(0, bad(), Good("k")) == ["begins k"]
    assert told(120) == ["over k"]


def test_what_comes_and_goes_all_the_time_is_told_a_few_times_a_day(told: Callable[..., list[str]]) -> None:
    said = [
        each for minute in range(24 * 60) for each in told(minute * 60, bad() if minute % 2 else Good("k"))
    ]
    assert said == ["begins k"]


@pytest.mark.parametrize("period", [3, 5, 10, 30, 60])
def test_no_rhythm_of_failures_floods(told: Callable[..., list[str]], period: int) -> None:
    said = [
        each
        for minute in range(24 * 60)
        for each in told(minute * 60, bad() if minute // period % 2 else Good("k"))
    ]
    assert "begins k" in said
    assert len(said) <= 12


def test_what_gets_worse_is_told_once_whatever_it_does_then(told: Callable[..., list[str]]) -> None:
    assert told(0, bad(severity="warning")) == ["begins k"]
    assert told(60, bad(severity="error")) == ["worse k"]
    assert told(120, bad(severity="warning")) == []
    assert told(180, bad(severity="error")) == []


def test_a_failed_run_that_nothing_followed_is_forgotten_after_a_week(told: Callable[..., list[str]]) -> None:
    said = list(told(0, bad(kind="run")))
    for hour in range(1, 24 * 30):
        said += told(hour * HOUR)
    assert said == ["begins k"] + ["lasts k"] * 7


def item(what: str, key: str = "k", since: float = 0, at: float = 0) -> Item:
    return Item(what=what, problem=bad(key), since=since, at=at)  # type: ignore[arg-type]


def test_what_was_not_delivered_waits_and_is_tried_again_after_growing_pauses() -> None:
    waiting = Waiting()
    assert not is_due(waiting, 0)
    add(waiting, [item("begins")])
    pauses, now = [], 0.0
    for _ in range(8):
        assert is_due(waiting, now)
        failed(waiting, "no answer", now)
        pauses.append(waiting.next_try_at - now)
        assert not is_due(waiting, waiting.next_try_at - 1)
        now = waiting.next_try_at
    assert pauses == [30, 60, 120, 240, 480, 900, 900, 900]
    assert [each.what for each in waiting.items] == ["begins"]
    delivered(waiting)
    assert not is_due(waiting, now)
    assert waiting.error == ""


def test_what_waits_of_one_problem_is_one_item_that_knows_its_beginning() -> None:
    waiting = Waiting()
    add(waiting, [item("begins", since=5, at=5), item("begins", "other")])
    add(waiting, [item("lasts", since=5, at=DAY)])
    assert [(each.what, each.problem.key) for each in waiting.items] == [("begins", "other"), ("begins", "k")]
    add(waiting, [item("over", since=5, at=2 * DAY)])
    assert [(each.what, each.since) for each in waiting.items] == [("begins", 0), ("over", 5)]


@given(st.lists(st.tuples(st.sampled_from(["begins", "worse", "lasts", "over"]), st.sampled_from("abc"))))
def test_every_problem_that_is_to_be_told_is_among_what_waits(given_items: list[tuple[str, str]]) -> None:
    waiting = Waiting()
    add(waiting, [item(what, key) for what, key in given_items])
    assert {each.problem.key for each in waiting.items} == {key for _, key in given_items}
    last = {key: what for what, key in given_items}
    assert {each.problem.key for each in waiting.items if each.what == "over"} == {
        key for key, what in last.items() if what == "over"
    }
