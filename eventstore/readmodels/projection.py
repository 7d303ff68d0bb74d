"""What a projection is: a table with one row per order, and the rules that fold an order's events into it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from eventstore.domain.order import ORDER_RULES, OrderState
from eventstore.domain.recorded import FoldEvent

BUCKETS = 16


class FoldedState(Protocol):
    """What the engine needs to know of a state; its other fields are the projection's own."""

    @property
    def order_id(self) -> UUID: ...
    @property
    def version(self) -> int: ...
    @property
    def last_event_at(self) -> datetime: ...
    @property
    def fold_version(self) -> str | None: ...


S = TypeVar("S", bound=FoldedState)


class Folding(Protocol):
    """One version of the rules of a projection."""

    @property
    def version(self) -> str: ...
    def evolve(self, state: Any, recorded: FoldEvent, /) -> Any: ...
    def knows(self, name: str, /) -> bool: ...


@dataclass(frozen=True)
class Projection(Generic[S]):
    """A read model with one row per order.

    The fields of the state are the columns of the table ``name``, by name. A table ``<name>_candidate`` with
    partitions ``<name>_candidate_00`` to ``_15`` takes the replay. ``foldings`` are the versions of the rules
    that this code knows, the current one last.
    """

    name: str
    initial: Callable[[UUID], S]
    foldings: tuple[Folding, ...]

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

    def evolve(self, state: S, recorded: FoldEvent) -> S:
        evolved: S = self.current.evolve(state, recorded)
        return evolved

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(type(self.initial(UUID(int=0))).__struct_fields__)  # type: ignore[attr-defined]

    @property
    def candidate(self) -> str:
        return f"{self.name}_candidate"

    def candidate_bucket(self, bucket: int) -> str:
        return f"{self.candidate}_{bucket:02d}"


def _new_order(order_id: UUID) -> OrderState:
    return OrderState(order_id=order_id)


ORDERS = Projection(name="orders", initial=_new_order, foldings=ORDER_RULES)

#: Every projection that is kept up to date.
PROJECTIONS: tuple[Projection[Any], ...] = (ORDERS,)
