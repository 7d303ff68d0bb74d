"""When to tell of a problem: when it begins, gets worse or is over, and once a day while it lasts. Pure."""

from collections.abc import Iterable
from typing import Literal

import msgspec

#: A problem is over when it was gone for so long; each return on the same day makes that four times as long.
SETTLE_S = 120
REMIND_S = _DAY_S = 86_400
#: A failed run that nothing like it followed is not spoken of any more.
FORGET_RUNS_S = 7 * _DAY_S

Severity = Literal["warning", "error"]
What = Literal["begins", "worse", "lasts", "over"]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person should know. The same key is the same problem."""

    key: str
    kind: Literal["run", "check", "stale", "test"]
    severity: Severity
    title: str
    text: str
    link: str = ""
    runbook: str = ""  #: where to read what to do


class Good(msgspec.Struct, frozen=True):
    """What the problem of this key was about is well."""

    key: str


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell."""

    what: What
    problem: Problem
    since: float  #: when the problem began, in seconds of the epoch
    at: float  #: when this was found


class Known(msgspec.Struct, kw_only=True):
    """A problem that was told of, while it lasts and for a day after."""

    problem: Problem
    since: float
    told_at: float
    good_since: float | None = None
    over: bool = False
    begins: int = 1  #: how often it began within a day

    @property
    def settle(self) -> float:
        return min(SETTLE_S * 4.0 ** (self.begins - 1), _DAY_S)


def observe(known: dict[str, Known], seen: Iterable[Problem | Good], now: float) -> list[Item]:
    """Take in what was seen, in its order, and return what is to be told; ``known`` is brought up to date."""
    items: list[Item] = []
    for each in seen:
        if isinstance(each, Good):
            _good(known, each.key, now)
        elif found := _bad(known, each, now):
            items.append(found)
    for key, told in list(known.items()):
        if told.good_since is None:
            if told.problem.kind == "run" and now - told.since > FORGET_RUNS_S:
                del known[key]
            elif now - told.told_at >= REMIND_S:
                told.told_at = now
                items.append(Item(what="lasts", problem=told.problem, since=told.since, at=now))
        elif not told.over and now - told.good_since >= told.settle:
            told.over = True
            items.append(Item(what="over", problem=told.problem, since=told.since, at=now))
        elif told.over and now - told.good_since > _DAY_S:
            del known[key]
    return items


def _good(known: dict[str, Known], key: str, now: float) -> None:
    if (found := known.get(key)) and found.good_since is None:
        found.good_since = now


def _bad(known: dict[str, Known], problem: Problem, now: float) -> Item | None:
    found = known.get(problem.key)
    if found is None or found.over:
        begins = found.begins + 1 if found else 1
        known[problem.key] = Known(problem=problem, since=now, told_at=now, begins=begins)
        return Item(what="begins", problem=problem, since=now, at=now)
    found.good_since = None
    worse = found.problem.severity == "warning" and problem.severity == "error"
    # Once told of as an error it stays one until it is over: to and fro is told of once.
    if worse or problem.severity == found.problem.severity:
        found.problem = problem
    if not worse:
        return None
    found.told_at = now
    return Item(what="worse", problem=problem, since=found.since, at=now)
