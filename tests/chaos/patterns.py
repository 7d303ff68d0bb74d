"""The ways in which clients append. To add one: a function here, with its weight in PATTERNS."""

import time
from collections.abc import Callable
from uuid import UUID

from tests.chaos.clients import Client


def one_event(client: Client) -> None:
    client.alone(client.order(), [client.event()])


def several_events(client: Client) -> None:
    client.alone(client.order(), client.events(6))


def expected_version(client: Client) -> None:
    order = client.order()
    version = client.version_of(order)
    _linger(client, 0.01)
    client.alone(order, client.events(2), expected=version)


def several_orders(client: Client) -> None:
    """In any order, so that deadlocks come about."""
    with client.transaction() as tx:
        for order in _orders(client):
            tx.append(order, client.events(3))
            _linger(client, 0.02)


def takes_its_time(client: Client) -> None:
    """The ids that it mints are old when it commits."""
    with client.transaction() as tx:
        tx.append(client.order(), client.events(3))
        _linger(client, 0.4)
        tx.append(client.order(), [client.event()])


def thinks_better_of_it(client: Client) -> None:
    with client.transaction() as tx:
        tx.append(client.order(), client.events(3))
        _linger(client, 0.05)
        tx.ending = "rollback"


def savepoint_undone(client: Client) -> None:
    """The first append of the transaction is undone, sometimes with what it announced."""
    order = client.order()
    with client.transaction() as tx:
        if client.chance.random() < 0.5:
            tx.append(order, [client.event()])
        with tx.undone() as part:
            part.append(order, client.events(2))
            part.append(client.order(), client.events(2))
        _linger(client, 0.1)
        tx.append(order, client.events(2))


def prepared(client: Client) -> None:
    """Somebody else commits or rolls back, perhaps after a crash."""
    with client.transaction() as tx:
        for order in _orders(client)[:2]:
            tx.append(order, client.events(2))
        tx.ending = "prepare"


def sent_until_acknowledged(client: Client) -> None:
    """A producer that sends an event with an identity again and again, here also once more than it must."""
    event = client.event()
    identity = {"source": "/chaos/producer", "source_id": event["data"]["tag"]}
    client.owed += [(client.order(), event | identity)] * 2
    client.send_owed()


def identity_of_two_writers(client: Client) -> None:
    """Several writers send it; the first one's stands."""
    order = client.order()
    identity = {"source": "/chaos/shared", "source_id": str(client.chance.randrange(5))}
    with client.transaction() as tx:
        tx.append(order, [client.event(**identity)])
        _linger(client, 0.02)


def _orders(client: Client) -> list[UUID]:
    found = list({client.order() for _ in range(3)})
    client.chance.shuffle(found)
    return found


def _linger(client: Client, longest: float) -> None:
    time.sleep(client.chance.random() * longest)


Pattern = Callable[[Client], None]

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


class Writer(Client):
    """One pattern after the other."""

    role = "writer"

    def act(self) -> None:
        if self.owed:
            self.pattern = sent_until_acknowledged.__name__
            self.send_owed()
        patterns = PATTERNS_OF_THE_CALM if self.stage.is_calm else PATTERNS
        [(pattern, _)] = self.chance.choices(patterns, [weight for _, weight in patterns])
        self.pattern = pattern.__name__
        pattern(self)
