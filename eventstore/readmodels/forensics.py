"""The forensic view of one order: what each of its events changed, and how two moments differ."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from eventstore.domain.folding import evolve
from eventstore.domain.forensics import Change, Learned, changes_between, learn
from eventstore.domain.order import OrderState
from eventstore.domain.recorded import RecordedEvent
from eventstore.log.connection import Connection
from eventstore.log.feed import stream
from eventstore.readmodels.rules import rules_in_force
from eventstore.readmodels.state import state


def learned(connection: Connection, order_id: UUID) -> Iterator[Learned]:
    """The events of an order by version, each with what it changed; empty for an order without events."""
    return learn(stream(connection, order_id), partial(evolve, rules_in_force(connection)))


class Difference(NamedTuple):
    changes: dict[str, Change]
    events: list[RecordedEvent]  #: that happened after the first moment, up to the second, in this order


def difference(
    connection: Connection, order_id: UUID, first: datetime, second: datetime
) -> Difference | None:
    """What changed in an order between two moments of business time, as far as is known now.

    None for an order without events.
    """
    events = list(stream(connection, order_id))
    if not events:
        return None
    before = state(connection, order_id, at=first) or OrderState(order_id=order_id)
    after = state(connection, order_id, at=second) or OrderState(order_id=order_id)
    between = [event for event in events if first < event.happened_at <= second]
    between.sort(key=lambda event: (event.happened_at, event.version))
    return Difference(changes_between(before, after), between)
