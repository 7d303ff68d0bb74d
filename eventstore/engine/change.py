"""A change of rules: all projections that fold by the same rules change together, a table after the other.

Where a change stands follows from the tables alone: by which rules each was folded, and which candidates
stand. So one that was interrupted between two tables is gone on with.
"""

from typing import Any, NamedTuple
from uuid import UUID

from eventstore.engine.candidate import Candidate, candidate
from eventstore.engine.domain import Domain
from eventstore.engine.projection import Projection
from eventstore.engine.promote import Promoted, promote
from eventstore.engine.standing import register, standing
from eventstore.kernel.folding import Folding
from eventstore.log.connection import Connection
from eventstore.log.errors import EventStoreError


class InterruptedChangeError(EventStoreError):
    """Another replay began while a change was promoted."""

    def __init__(self, name: str) -> None:
        super().__init__(f"another replay of {name} got in between: promote again when it stands")


class TableChange(NamedTuple):
    """Where a change stands in one table."""

    projection: Projection[Any]
    version: str  #: of the rules that the change is to
    live: str | None  #: the rules of the live table; None before its first refresh
    candidate: Candidate
    policy: str  #: "auto" or "manual"
    watermark: UUID

    @property
    def waits(self) -> bool:
        """Whether a complete replay waits for its promotion."""
        return self.candidate.complete

    @property
    def follows(self) -> bool:
        """Whether the live table was folded by these rules."""
        return self.live in (None, self.version)

    @property
    def needs_a_person(self) -> bool:
        return self.waits and (self.candidate.for_preview or self.policy == "manual")


class Change(NamedTuple):
    """Where a change of rules stands."""

    tables: tuple[TableChange, ...]

    @property
    def version(self) -> str:
        """Of the rules that it is to."""
        return self.tables[0].version

    @property
    def is_done(self) -> bool:
        return all(table.follows for table in self.tables)

    @property
    def lacking(self) -> list[TableChange]:
        """The tables whose replay is missing or not complete."""
        return [table for table in self.tables if not (table.waits or table.follows)]

    @property
    def is_ready(self) -> bool:
        """Whether there is something to promote, and nothing is lacking."""
        return any(table.waits for table in self.tables) and not self.lacking

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody is to read the preview of one of them first."""
        return any(table.needs_a_person for table in self.tables)

    @property
    def in_words(self) -> str:
        """What stands of each table."""
        return "; ".join(_in_words(table) for table in self.tables)


def same_rules(domain: Domain[Any], projection: Projection[Any]) -> tuple[Projection[Any], ...]:
    """The projections that change together with this one, itself included, in the order of the domain."""
    found = tuple(each for each in domain.projections if each.foldings is projection.foldings)
    return found if any(each.name == projection.name for each in found) else (projection,)


def changes(domain: Domain[Any]) -> list[tuple[Projection[Any], ...]]:
    """Which projections change together: each is in one of these."""
    found: list[tuple[Projection[Any], ...]] = []
    for projection in domain.projections:
        if not any(projection is known for change in found for known in change):
            found.append(same_rules(domain, projection))
    return found


def change_of(
    connection: Connection, projections: tuple[Projection[Any], ...], folding: Folding | None = None
) -> Change:
    """Where the change of these projections to ``folding`` stands, by default to the current rules."""
    return Change(tuple(_table(connection, each, folding or each.current) for each in projections))


def ready_to_promote(connection: Connection, projections: tuple[Projection[Any], ...]) -> bool:
    """Whether the next refresh promotes: all replays of the change stand, and nobody has to look first."""
    change = change_of(connection, projections)
    return change.is_ready and not change.needs_a_person


def promote_change(
    connection: Connection,
    projections: tuple[Projection[Any], ...],
    *,
    by_hand: bool = False,
    folding: Folding | None = None,
) -> dict[str, Promoted] | None:
    """Promote all that waits of a change, a transaction per table; what each of the tables became.

    None, and nothing is changed, where a replay is missing or none waits or, unless ``by_hand``, where a
    person is to read a preview first. A table that follows the rules already has no difference.
    """
    for projection in projections:
        register(connection, projection.name, projection.fold_version)
    change = change_of(connection, projections, folding)
    if not change.is_ready or (change.needs_a_person and not by_hand):
        return None
    promoted: dict[str, Promoted] = {}
    for table in change.tables:
        projection = table.projection
        done = promote(connection, projection, by_hand=by_hand, folding=folding) if table.waits else None
        if not done and not _table(connection, projection, folding or projection.current).follows:
            raise InterruptedChangeError(projection.name)
        promoted[projection.name] = done or _without_difference(table)  # or another run has promoted it
    return promoted


def _table(connection: Connection, projection: Projection[Any], folding: Folding) -> TableChange:
    found = standing(connection, projection.name)
    return TableChange(
        projection=projection,
        version=folding.version,
        live=found.fold_version if found else None,
        candidate=candidate(connection, projection, folding),
        policy=found.promotion if found else "auto",
        watermark=found.watermark if found else UUID(int=0),
    )


def _without_difference(table: TableChange) -> Promoted:
    return Promoted(
        added=0,
        changed=0,
        gone=0,
        caught_up=0,
        fold_version=table.version,
        watermark=table.watermark,
        seconds=0.0,
    )


def _in_words(table: TableChange) -> str:
    found = table.candidate
    others = f", {found.others} by others" if found.others else ""
    buckets = f"{found.buckets} of {found.of} buckets stand by rules {table.version}{others}"
    if table.follows and not found.buckets:
        return f"{table.projection.name} follows rules {table.version} ({buckets})"
    return f"of {table.projection.name} {buckets}"
