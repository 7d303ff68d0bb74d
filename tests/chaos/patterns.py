"""The ways in which clients append. To add one: a function here, with its weight in PATTERNS."""

import time
from uuid import UUID

from tests.chaos.writers import Pattern, Writer


def one_event(writer: Writer) -> None:
    writer.alone(writer.order(), [writer.event()])


def several_events(writer: Writer) -> None:
    writer.alone(writer.order(), writer.events(6))


def expected_version(writer: Writer) -> None:
    order = writer.order()
    version = writer.version_of(order)
    _linger(writer, 0.01)
    writer.alone(order, writer.events(2), expected=version)


def several_orders(writer: Writer) -> None:
    """In any order, so that deadlocks come about."""
    with writer.transaction() as tx:
        for order in _orders(writer):
            tx.append(order, writer.events(3))
            _linger(writer, 0.02)


def takes_its_time(writer: Writer) -> None:
    """The ids that it mints are old when it commits."""
    with writer.transaction() as tx:
        tx.append(writer.order(), writer.events(3))
        _linger(writer, 0.4)
        tx.append(writer.order(), [writer.event()])


def thinks_better_of_it(writer: Writer) -> None:
    with writer.transaction() as tx:
        tx.append(writer.order(), writer.events(3))
        _linger(writer, 0.05)
        tx.ending = "rollback"


def savepoint_undone(writer: Writer) -> None:
    """The first append of the transaction is undone, sometimes with what it announced."""
    order = writer.order()
    with writer.transaction() as tx:
        if writer.chance.random() < 0.5:
            tx.append(order, [writer.event()])
        with tx.undone() as part:
            part.append(order, writer.events(2))
            part.append(writer.order(), writer.events(2))
        _linger(writer, 0.1)
        tx.append(order, writer.events(2))


def prepared(writer: Writer) -> None:
    """Somebody else commits or rolls back, perhaps after a crash."""
    with writer.transaction() as tx:
        for order in _orders(writer)[:2]:
            tx.append(order, writer.events(2))
        tx.ending = "prepare"


def sent_until_acknowledged(writer: Writer) -> None:
    """A producer that sends an event with an identity again and again, here also once more than it must."""
    event = writer.event()
    identity = {"source": "/chaos/producer", "source_id": event["data"]["tag"]}
    writer.owed += [(writer.order(), event | identity)] * 2
    writer.send_owed()


def identity_of_two_writers(writer: Writer) -> None:
    """Several writers send it; the first one's stands."""
    order = writer.order()
    identity = {"source": "/chaos/shared", "source_id": str(writer.chance.randrange(5))}
    with writer.transaction() as tx:
        tx.append(order, [writer.event(**identity)])
        _linger(writer, 0.02)


def _orders(writer: Writer) -> list[UUID]:
    found = list({writer.order() for _ in range(3)})
    writer.chance.shuffle(found)
    return found


def _linger(writer: Writer, longest: float) -> None:
    time.sleep(writer.chance.random() * longest)


PATTERNS: list[tuple[Pattern, int]] = [
    (one_event, 6),
    (several_events, 6),
    (expected_version, 3),
    (several_orders, 4),
    (takes_its_time, 1),
    (thinks_better_of_it, 1),
    (savepoint_undone, 2),
    (prepared, 1),
    (sent_until_acknowledged, 2),
    (identity_of_two_writers, 3),
]

#: None of these flushes. What takes its time is open while a consumer publishes, and committed when it reads.
PATTERNS_OF_THE_CALM: list[tuple[Pattern, int]] = [
    (takes_its_time, 4),
    (several_events, 1),
    (several_orders, 1),
]
