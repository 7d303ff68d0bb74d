"""A row of the report: what we need, what the yardstick needs, and the ratio; and rounds that alternate."""

from collections.abc import Callable
from statistics import median
from typing import Literal

import msgspec


class Row(msgspec.Struct, kw_only=True):
    """One measure. Without ``theirs`` there is nothing to compare: the target is for ``ours`` itself."""

    measure: str
    unit: str
    ours: list[float]  #: a value per round
    yardstick: str = ""
    theirs: list[float] = []
    target: tuple[Literal[">=", "<="], float] | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """A ratio per round; where the two were not measured in pairs, all against the other's median."""
        if not self.theirs:
            return []
        if len(self.ours) == len(self.theirs):
            return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]
        return [ours / median(self.theirs) for ours in self.ours]

    @property
    def met(self) -> bool | None:
        """Whether the median is at least (or at most) the target; None for a row without one."""
        if self.target is None:
            return None
        operator, limit = self.target
        value = median(self.ratios or self.ours)
        return value >= limit if operator == ">=" else value <= limit


def alternate(
    rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Measure both in each round; which one goes first changes, so that neither always finds a warm cache."""
    results: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        first = number % 2
        for side in (first, 1 - first):
            results[side].append((ours, theirs)[side]())
    return results


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that is not below ``percent`` of all of them."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]
