"""What a projection is: a table of what became of the orders, and the rules by which events make its rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol
from uuid import UUID

from eventstore.kernel.buckets import table_of
from eventstore.kernel.codec import Codec
from eventstore.kernel.folding import Failure, Folding, S
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.connection import Connection

Advance = Callable[[Folding, Any, FoldEvent], None]


class Outcome(NamedTuple):
    """What the fold makes of an order."""

    order_id: UUID
    kept: list[Any]  #: what its rows are made of; empty where its very first event fails
    failure: Failure | None


class Folded(NamedTuple):
    rows: int  #: rows written
    refolded: int  #: orders folded again from their first event


class Rows(Protocol):
    """How what is folded becomes rows of a table."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that are no fields of the state; they follow the state's."""

    def outcomes(
        self, target: "Target", events: Iterable[FoldEvent], advance: Advance, /
    ) -> Iterator[Outcome]:
        """What becomes of orders, from their events: each order's together, in the order of the fold."""

    def replace(self, connection: Connection, target: "Target", outcomes: list[Outcome], /) -> int:
        """Make the rows of these orders those of their outcomes; returns how many it wrote."""

    def lines(self, kept: list[Any], /) -> bytes:
        """The rows of what outcomes keep, for COPY."""

    def row_after(self, state: Any, event: FoldEvent, /) -> Sequence[Any]:
        """The row that a state has just after an event."""


class Layout(Rows, Protocol):
    """How the table of a projection keeps what is folded into it, and what is a row of it."""

    @property
    def key(self) -> tuple[str, ...]:
        """The columns by which a row of one fold is the same row in another; the first is order_id."""

    @property
    def replaces_rows(self) -> bool:
        """Whether a row that is to change is deleted and inserted: rows of this table are never updated."""

    def fold_into(self, connection: Connection, target: "Target", events: list[FoldEvent], /) -> Folded:
        """Bring the rows of the target forward by ``events``, in feed order without gaps, in a transaction.

        Events that the rows hold already are passed over.
        """


@dataclass(frozen=True)
class Projection(Generic[S]):
    """A read model whose rows are folded order by order.

    The fields of the state are columns of the table ``name``, by name. A table ``<name>_candidate`` takes the
    replay, with partitions ``<name>_candidate_00``, ``_01`` and so on, one a bucket of the log. ``foldings``
    are the versions of the rules that this code knows, the current one last.
    """

    name: str
    description: str  #: one sentence for the catalog
    initial: Callable[[UUID], S]
    foldings: tuple[Folding, ...]
    events: Codec  #: how the events are read
    layout: Layout

    @property
    def current(self) -> Folding:
        """The rules of this code; a replay folds by them."""
        return self.foldings[-1]

    @property
    def fold_version(self) -> str:
        return self.current.version

    def folding(self, version: str | None) -> Folding | None:
        """The rules of that version, None where this code does not have them any more (or not yet)."""
        return next((folding for folding in self.foldings if folding.version == version), None)

    @cached_property
    def state_type(self) -> type[Any]:
        return type(self.initial(UUID(int=0)))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that are fields of the state."""
        return tuple(self.state_type.__struct_fields__)

    @property
    def table_columns(self) -> tuple[str, ...]:
        return (*self.columns, *self.layout.columns)

    @property
    def candidate(self) -> str:
        return f"{self.name}_candidate"

    def candidate_bucket(self, bucket: int, buckets: int) -> str:
        """The part of the candidate for one of so many buckets."""
        return table_of(self.candidate, bucket, buckets)

    def target(self, table: str, folding: Folding, mark: str | None = None) -> "Target":
        """A table of this layout: the live one, the candidate or a bucket of that."""
        return Target(self, table, folding, self.layout, mark)


class Target(NamedTuple):
    """Where folded rows go, and by which rules."""

    projection: Projection[Any]
    table: str
    folding: Folding
    layout: Rows
    mark: str | None = None  #: fold_version of the rows: None where the rules are those of the whole table

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.projection.columns, *self.layout.columns)
