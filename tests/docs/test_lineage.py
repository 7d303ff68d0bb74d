"""The lineage of columns knows what to do with whatever fields an event of yours has."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from msgspec import Meta

from eventstore.engine.projection import Projection
from eventstore.engine.row_per_order import ROW_PER_ORDER
from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event
from eventstore.kernel.recorded import FoldEvent, from_ms
from tests.docs.reference.events import type_of
from tests.docs.reference.lineage import LOG, of_projection


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Weighed(msgspec.Struct, kw_only=True):
    order_id: UUID
    seen: Any = None
    version: int = 0
    last_event_at: datetime = from_ms(0)
    fold_version: str | None = None


@dataclass(frozen=True)
class Rules:
    version: str = "1"

    def apply(self, state: Weighed, recorded: FoldEvent, _at: datetime) -> None:
        state.seen = getattr(recorded.event, "field", None)

    def knows(self, _: str) -> bool:
        return True


def lineage_of(event: type[Event]) -> list[tuple[str, str]]:
    projection = Projection(
        name="weighed",
        description="What was weighed.",
        initial=lambda order_id: Weighed(order_id=order_id),
        foldings=(Rules(),),
        events=Codec(types=(event,)),
        layout=ROW_PER_ORDER,
    )
    return of_projection(projection)["seen"]


def with_field(annotation: Any) -> type[Event]:
    fields = [("field", annotation)]
    made: type[Any] = msgspec.defstruct("OrderWeighed", fields, bases=(Event,), frozen=True, kw_only=True)
    return made


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (float, "number"),
        (date, "date, ISO 8601"),
        (time, "time"),
        (timedelta, "timedelta"),
        (Size, "Size"),
        (Literal["small", "large"], '"small" or "large"'),
        (Literal["small", "large"] | None, '"small" or "large"'),
        (list[str], "list of string"),
        (tuple[int, ...] | None, "list of whole number"),
        (dict[str, int], "dict"),
        (Annotated[int, Meta(ge=10)], "whole number"),
        (Annotated[int, Meta(lt=0)], "whole number"),
        (Annotated[str, Meta(pattern="^[0-9]+$", examples=["1", "2"])], "string"),
    ],
    ids=str,
)
def test_a_field_of_any_type_is_followed_into_its_column(annotation: Any, words: str) -> None:
    assert lineage_of(with_field(annotation)) == [(LOG, "OrderWeighed.field")]
    assert type_of(annotation) == words


def test_a_field_of_which_no_value_is_known_says_how_to_give_some() -> None:
    with pytest.raises(ValueError, match=r"no OrderWeighed could be made .*examples="):
        lineage_of(with_field(Annotated[str, Meta(pattern="^[0-9]+$")]))
