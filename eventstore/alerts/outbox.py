"""What waits to be sent on each channel: nothing is dropped before it was delivered. Pure."""

import msgspec

from eventstore.alerts.problems import Item

#: After a failure the next try waits for so long, then twice as long, up to the last.
_FIRST_S, _LONGEST_S = 30, 900


class Waiting(msgspec.Struct, kw_only=True):
    """What one channel still has to deliver."""

    items: list[Item] = msgspec.field(default_factory=list)
    tries: int = 0  #: that failed since the last success
    next_try_at: float = 0
    error: str = ""


def add(waiting: Waiting, items: list[Item]) -> None:
    """Add news. What waits of the same problem already gives way to it; its beginning is kept."""
    for item in items:
        before = [each for each in waiting.items if each.problem.key == item.problem.key]
        kept = [each for each in waiting.items if each.problem.key != item.problem.key]
        began = min([each.since for each in before], default=item.since)
        # Nobody was told that it began: a reminder, or "worse", is its beginning.
        hidden = bool(before) and before[0].what == "begins" and item.what != "over"
        waiting.items = [
            *kept,
            Item(what="begins" if hidden else item.what, problem=item.problem, since=began, at=item.at),
        ]


def is_due(waiting: Waiting, now: float) -> bool:
    return bool(waiting.items) and now >= waiting.next_try_at


def delivered(waiting: Waiting) -> None:
    waiting.items, waiting.tries, waiting.next_try_at, waiting.error = [], 0, 0, ""


def failed(waiting: Waiting, error: str, now: float) -> None:
    waiting.next_try_at = now + min(_FIRST_S * 2.0 ** min(waiting.tries, 20), _LONGEST_S)
    waiting.tries, waiting.error = waiting.tries + 1, error
