"""Whether all that is folded by the same rules was: else two interpretations of the log are live.

Nothing is kept for this: each table's row in ``projections`` says which rules folded it.
"""

from typing import Any, NamedTuple

from eventstore.engine.change import changes
from eventstore.engine.domain import Domain
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.log.connection import Connection


class TwoInterpretationsWarning(UserWarning):
    """Tables that fold by the same rules disagree: a change of rules is under way."""


class Interpretations(NamedTuple):
    """The tables of one change of rules that do not agree."""

    rules: dict[str, str]  #: of each table

    @property
    def in_words(self) -> str:
        by_rules: dict[str, list[str]] = {}
        for table, version in self.rules.items():
            by_rules.setdefault(version, []).append(table)
        parts = [f"{_listed(tables)} by rules {version}" for version, tables in by_rules.items()]
        return f"two interpretations are live: {'; '.join(parts)}"


def interpretations(connection: Connection, domain: Domain[Any]) -> list[Interpretations]:
    """What disagrees; empty while all is well. Cheap: some rows of one small table."""
    live: dict[str, str] = dict(connection.execute("SELECT name, fold_version FROM projections").fetchall())
    found = (Interpretations({t: live[t] for t in tables if t in live}) for tables in _tables(domain))
    return [each for each in found if len(set(each.rules.values())) > 1]


def _tables(domain: Domain[Any]) -> list[list[str]]:
    """For each change of rules all tables that follow it, those that are made from others included."""
    found = []
    for projections in changes(domain):
        names = [projection.name for projection in projections]
        made = [SNAPSHOTS] if domain.states.name in names else []
        made += [derived.name for derived in domain.derived if derived.source.name in names]
        found.append(names + made)
    return found


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
