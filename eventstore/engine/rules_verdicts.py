"""Which rules are in force, which replay waits for whom, and whether two interpretations are live."""

from typing import Any

from eventstore.engine.change import change_of, changes
from eventstore.engine.domain import Domain
from eventstore.engine.interpretations import interpretations
from eventstore.engine.projection import Projection
from eventstore.kernel.verdicts import Level, Verdict
from eventstore.log.connection import Connection


def judge_rules(connection: Connection, domain: Domain[Any]) -> list[Verdict]:
    """A verdict for each change of rules, and one for each disagreement."""
    found = [judge_change(connection, domain, projections) for projections in changes(domain)]
    remedy = next((verdict.next for verdict in found if verdict.next), "eventstore refresh")
    return found + [
        Verdict(
            code="two-interpretations", level="warn", subject="rules", sentence=each.in_words, next=remedy
        )
        for each in interpretations(connection, domain)
    ]


def judge_change(
    connection: Connection, domain: Domain[Any], projections: tuple[Projection[Any], ...]
) -> Verdict:
    """How the code's rules stand in the tables that fold by them."""
    change = change_of(connection, projections)
    name = "" if projections[0] is domain.states else f" {projections[0].name}"
    names = " and ".join(table.projection.name for table in change.tables if table.waits)
    if change.is_ready and change.needs_a_person:
        return _verdict(
            "replay-waits",
            "warn",
            f"a replay of {names} by rules {change.version} waits for a person: read the check preview, then "
            f"launch promote_{projections[0].name} or `eventstore promote{name}`",
            f"eventstore promote{name}",
        )
    if change.is_ready:
        return _verdict(
            "replay-stands",
            "ok" if change.is_done else "warn",
            f"a replay of {names} by rules {change.version} stands; the next run of the schedule promotes",
            None if change.is_done else f"eventstore promote{name}",
        )
    if change.lacking:
        old = ", ".join(f"{table.projection.name} {table.live}" for table in change.lacking)
        stands = "" if not any(table.candidate.buckets for table in change.tables) else f"; {change.in_words}"
        groups = projections[0].name
        return _verdict(
            "rules-old",
            "fail",
            f"the code has rules {change.version}, folded by others: {old}{stands}. Replay: materialize all "
            f"of the group {groups}, or `eventstore replay{name} --preview`",
            f"eventstore replay{name} --preview",
        )
    names = ", ".join(table.projection.name for table in change.tables)
    return _verdict("rules-current", "ok", f"{names} by rules {change.version}", None)


def _verdict(code: str, level: Level, sentence: str, next_: str | None) -> Verdict:
    return Verdict(code=code, level=level, subject="rules", sentence=sentence, next=next_)
