"""What a projection is: a table of what became of the orders, and the rules by which events make its rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic
from uuid import UUID

from eventstore.domain.folding import Folding, S
from eventstore.domain.order import ORDER_RULES, OrderState
from eventstore.domain.recorded import FoldEvent
from eventstore.log.connection import Connection

if TYPE_CHECKING:
    from eventstore.readmodels.fold import Advance, Folded, Outcome, Target

BUCKETS = 16


@dataclass(frozen=True)
class Layout:
    """How a table keeps what is folded into it."""

    columns: tuple[str, ...]  #: those that are no fields of the state
    fold_into: "Callable[[Connection, Target, list[FoldEvent]], Folded]"
    #: What becomes of orders, from their events: each order's together, in the order of its fold.
    outcomes: "Callable[[Target, Iterable[FoldEvent], Advance], Iterator[Outcome]]"
    #: Makes the rows of orders those of their outcomes; returns how many it wrote.
    replace: "Callable[[Connection, Target, list[Outcome]], int]"
    row: Callable[[Any], Sequence[Any]]  #: of what an outcome keeps
    probe: Callable[[Any, FoldEvent], Sequence[Any]]  #: the row that a state after an event would have
    #: Makes the live table equal to the candidate; returns the rows added, changed and gone.
    apply_difference: "Callable[[Connection, Projection[Any]], tuple[int, int, int]]"


@dataclass(frozen=True)
class Projection(Generic[S]):
    """A read model with one row per order, or with another layout.

    The fields of the state are the columns of the table ``name``, by name. A table ``<name>_candidate`` with
    partitions ``<name>_candidate_00`` to ``_15`` takes the replay. ``foldings`` are the versions of the rules
    that this code knows, the current one last.
    """

    name: str
    description: str  #: one sentence for the catalog
    initial: Callable[[UUID], S]
    foldings: tuple[Folding, ...]
    layout: Layout | None = None  #: None: one row per order

    @property
    def row_per_order(self) -> bool:
        return self.layout is None

    @property
    def current(self) -> Folding:
        """The rules of this code; a replay folds by them."""
        return self.foldings[-1]

    @property
    def fold_version(self) -> str:
        return self.current.version

    def folding(self, version: str) -> Folding | None:
        """The rules of that version, None where this code does not have them any more (or not yet)."""
        return next((folding for folding in self.foldings if folding.version == version), None)

    @cached_property
    def state_type(self) -> type[Any]:
        return type(self.initial(UUID(int=0)))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.state_type.__struct_fields__)

    @property
    def table_columns(self) -> tuple[str, ...]:
        return (*self.columns, *self.layout.columns) if self.layout else self.columns

    @property
    def candidate(self) -> str:
        return f"{self.name}_candidate"

    def candidate_bucket(self, bucket: int) -> str:
        return f"{self.candidate}_{bucket:02d}"


def _new_order(order_id: UUID) -> OrderState:
    return OrderState(order_id=order_id)


ORDERS = Projection(
    name="orders",
    description="The current state of each order: the fold of its events by (created_at, version).",
    initial=_new_order,
    foldings=ORDER_RULES,
)
