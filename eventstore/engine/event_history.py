"""The history of one order: what each of its events changed, and how two moments differ."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from eventstore.engine.projection import Projection
from eventstore.engine.standing import rules_in_force
from eventstore.engine.state import state
from eventstore.kernel.event_history import Change, HistoryEntry, changes_between, history_entries
from eventstore.kernel.folding import evolving
from eventstore.kernel.recorded import RecordedEvent
from eventstore.log.connection import Connection, one_moment
from eventstore.log.feed import stream


def history_of(connection: Connection, projection: Projection[Any], order_id: UUID) -> Iterator[HistoryEntry]:
    """The events of an order by version, each with what it changed; empty for an order without events."""
    events = stream(connection, order_id, codec=projection.events)
    evolve = evolving(rules_in_force(connection, projection))
    return history_entries(events, projection.initial, evolve, projection.events.fold_event)


class Difference(NamedTuple):
    changes: dict[str, Change]
    events: list[RecordedEvent]  #: that happened after the first moment, up to the second, in this order


def difference(
    connection: Connection, projection: Projection[Any], order_id: UUID, first: datetime, second: datetime
) -> Difference | None:
    """What changed in an order between two moments of business time, as far as is known now.

    None for an order without events. ``connection`` must be without an open transaction.
    """
    with one_moment(connection):
        events = list(stream(connection, order_id, codec=projection.events))
        if not events:
            return None
        before = state(connection, projection, order_id, at=first) or projection.initial(order_id)
        after = state(connection, projection, order_id, at=second) or projection.initial(order_id)
    between = [event for event in events if first < event.happened_at <= second]
    between.sort(key=lambda event: (event.happened_at, event.version))
    return Difference(changes_between(before, after), between)
