"""Reads on a replica, by READ_URL: with the primary's answers, and after the primary is gone."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

import eventstore
from eventstore.engine.refresh import refresh
from eventstore.log.connection import open_connection
from eventstore.log.epochs import current_epoch
from eventstore.log.feed import publish_horizon
from eventstore.orders.domain import DOMAIN
from tests.log.standbys import Server, caught_up, primary_server, standby_of
from tests.robustness.everything import run

ORDERS_OF_TEST = [uuid4() for _ in range(5)]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with primary_server() as primary, standby_of(primary) as standby:
        with eventstore.connect(primary.url) as store:
            for number, order in enumerate(ORDERS_OF_TEST):
                store.append(
                    order, eventstore.OrderCreated(customer_id=uuid4(), amount=Decimal(9), currency="EUR")
                )
                if number % 2:
                    store.append(order, eventstore.OrderPaid(amount=Decimal(9), currency="EUR"))
        with primary.connect() as there, standby.connect() as here:
            for projection in DOMAIN.projections:
                refresh(there, projection)
            there.execute("UPDATE scanned_horizon SET noted_at = '-infinity'")
            publish_horizon(there)
            caught_up(there, here)
        yield primary, standby


@pytest.fixture
def environment(servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", servers[0].url)
    monkeypatch.setenv("READ_URL", servers[1].url)


@pytest.mark.usefixtures("environment")
def test_reads_go_to_the_replica_and_appends_to_the_primary(servers: tuple[Server, Server]) -> None:
    with eventstore.connect() as store:
        with store.reading() as connection:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        (recorded,) = store.append(uuid4(), eventstore.OrderPaid(amount=Decimal(1), currency="EUR"))
        with servers[0].connect() as there, servers[1].connect() as here:
            caught_up(there, here)
        assert store.stream(recorded.order_id) == [recorded]
        assert store.freshness().is_replica


@pytest.mark.usefixtures("environment")
def test_a_url_that_is_given_is_not_mixed_with_the_replica_of_another(servers: tuple[Server, Server]) -> None:
    with eventstore.connect(servers[0].url) as store:
        assert store.read_url is None
    with eventstore.connect(servers[0].url, read_url=servers[1].url) as store:
        assert store.read_url == servers[1].url


def test_every_question_about_the_past_has_the_primarys_answer(servers: tuple[Server, Server]) -> None:
    now = datetime.now(UTC)
    with eventstore.connect(servers[0].url) as primary, eventstore.connect(servers[1].url) as standby:
        for order in ORDERS_OF_TEST:
            assert standby.current(order) == primary.current(order)
            assert standby.state(order, at=now) == primary.state(order, at=now)
            assert standby.state(order, known=now) == primary.state(order, known=now)
            assert standby.state(order, version=1) == primary.state(order, version=1)
        assert standby.read_page().events[: len(ORDERS_OF_TEST)] == primary.read()[: len(ORDERS_OF_TEST)]
    with open_connection(servers[0].url) as there, open_connection(servers[1].url) as here:
        for query in (
            "SELECT * FROM orders_as_of(now()) ORDER BY order_id",
            "SELECT * FROM customers_as_of(current_date) ORDER BY customer_id",
            "SELECT count(*) FROM lock_holders() WHERE kind = 'append'",
        ):
            assert here.execute(query).fetchall() == there.execute(query).fetchall()
        assert current_epoch(here) == 1


def test_where_the_primary_is_gone_reads_go_on_and_say_how_old_they_are(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = servers
    monkeypatch.setenv("READ_URL", standby.url)
    order: UUID = ORDERS_OF_TEST[1]
    primary.kill()
    try:
        shown = json.loads(run(primary.url, "show", order, "--json").out)
        assert shown["status"] == "Paid"
        assert shown["replica_age_seconds"] > 0
        for command in (
            ("history", order),
            ("orders", "--status", "Paid"),
            ("tail", "--limit", "3"),
            ("show", order, "--version", "1"),
        ):
            ran = run(primary.url, *command)
            assert (ran.code, bool(ran.out)) == (0, True), ran
        assert "read from a replica: complete up to" in run(primary.url, "history", order).err
        refused = run(primary.url, "append", order, "OrderPaid", '{"amount": "1.00", "currency": "EUR"}')
        assert refused.code == 1
        assert "cannot connect" in refused.err
    finally:
        primary.start()


def test_a_replica_that_is_gone_is_named(
    servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READ_URL", "postgresql://postgres@/eventstore?host=/nowhere")
    ran = run(servers[0].url, "show", uuid4())
    assert (ran.code, ran.out) == (1, "")
    assert "the replica to read from" in ran.err
