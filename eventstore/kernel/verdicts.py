"""Verdicts: what is well, what is wrong, and what to do, as plain data for people, checks and watchers."""

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail"]
#: The page that says of each verdict, check and alert what it means and what to do.
RUNBOOK = "docs/runbook.md"
LEVELS: tuple[Level, ...] = ("ok", "warn", "fail")


def entry(name: str) -> str:
    """Where the runbook speaks of a verdict, a check or an alert."""
    return f"{RUNBOOK}#{name}"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One judgement."""

    code: str  #: short and stable: the runbook has an entry for each
    level: Level
    subject: str  #: what is judged: a table, a consumer, the log
    sentence: str  #: what is so
    next: str | None = None  #: the next command, or what else to do; None where nothing is to be done

    def as_json(self) -> dict[str, str | None]:
        """Its fields, and where the runbook speaks of it."""
        return msgspec.structs.asdict(self) | {"runbook": entry(self.code)}


def worst(verdicts: Iterable[Verdict]) -> Level:
    """The level of all of them together."""
    return max((verdict.level for verdict in verdicts), key=LEVELS.index, default="ok")
