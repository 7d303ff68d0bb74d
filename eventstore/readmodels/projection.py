"""What a projection is: a table with one row per order, and the rules that fold an order's events into it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from eventstore.domain.order import RULES_VERSION, OrderState, evolve
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


S = TypeVar("S", bound=FoldedState)


@dataclass(frozen=True)
class Projection(Generic[S]):
    """A read model with one row per order.

    The fields of ``state`` are the columns of the table ``name``, by name. A table ``<name>_candidate`` with
    partitions ``<name>_candidate_00`` to ``_15`` takes the replay.
    """

    name: str
    initial: Callable[[UUID], S]
    evolve: Callable[[S, FoldEvent], S]
    fold_version: str

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


ORDERS = Projection(name="orders", initial=_new_order, evolve=evolve, fold_version=RULES_VERSION)

#: Every projection that is kept up to date.
PROJECTIONS: tuple[Projection[Any], ...] = (ORDERS,)
