"""What a hot standby answers, step by step."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.log import feed
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.consumers import consumer_watermark, subscribe
from eventstore.log.errors import DatabaseUnavailableError
from eventstore.log.freshness import freshness
from eventstore.log.outages import outages_explained
from tests.log.standbys import Server, caught_up, primary_server, standby_of

Connection = psycopg.Connection[Any]
SHIPPED = {"type": "OrderShipped", "data": {}}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with primary_server() as primary, standby_of(primary) as standby:
        yield primary, standby


@pytest.fixture
def primary(servers: tuple[Server, Server]) -> Iterator[Connection]:
    with servers[0].connect() as connection:
        connection.execute("DELETE FROM scanned_horizon")
        yield connection


@pytest.fixture
def standby(servers: tuple[Server, Server], primary: Connection) -> Iterator[Connection]:
    with servers[1].connect() as connection:
        caught_up(primary, connection)
        yield connection


def append(connection: Connection) -> UUID:
    (recorded,) = append_json(connection, uuid4(), [SHIPPED])
    return recorded.id


def publish(primary: Connection, standby: Connection) -> None:
    primary.execute("UPDATE scanned_horizon SET noted_at = '-infinity'")  # as if it were a while ago
    feed.publish_horizon(primary)
    caught_up(primary, standby)


def test_before_anything_is_published_a_standby_says_that_it_knows_nothing(
    primary: Connection, standby: Connection
) -> None:
    append(primary)
    caught_up(primary, standby)
    for call in ("horizon_ms()", "read_events(NULL, 1)", "publish_horizon()"):
        with pytest.raises(psycopg.Error, match="nobody has published one on the primary"):
            standby.execute(f"SELECT {call}")
    with (
        pytest.raises(DatabaseUnavailableError, match="eventstore horizon"),
        outages_explained(standby.info.dsn),
    ):
        feed.read(standby)
    found = freshness(standby)
    assert (found.is_replica, found.complete_up_to, found.age_seconds) == (True, None, None)


def test_a_standby_shows_what_was_published_and_nothing_of_an_append_that_was_open(
    servers: tuple[Server, Server], primary: Connection, standby: Connection
) -> None:
    publish(primary, standby)
    before = feed.horizon(standby)
    with servers[0].connect() as other, other.transaction():
        slow = append(other)
        fast = append(primary)
        publish(primary, standby)
        assert standby.execute("SELECT count(*) FROM order_events WHERE id = %s", (fast,)).fetchone() == (1,)
        assert [event.id for event in feed.read(standby, before)] == []
    publish(primary, standby)
    assert [event.id for event in feed.read(standby, before)] == sorted([slow, fast])
    found = freshness(standby)
    assert found.complete_up_to is not None
    assert found.age_seconds is not None
    assert found.age_seconds < 60


def test_in_one_snapshot_of_a_standby_the_horizon_shows_the_rows_below_it(
    primary: Connection, standby: Connection
) -> None:
    publish(primary, standby)
    before = feed.horizon(standby)
    standby.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    assert feed.horizon(standby) == before
    seen = append(primary)
    publish(primary, standby)
    assert list(standby.execute("SELECT id FROM read_events(%s, 10)", (before,))) == []
    standby.execute("COMMIT")
    assert [row[0] for row in standby.execute("SELECT id FROM read_events(%s, 10)", (before,))] == [seen]


def test_appends_on_a_standby_are_refused_in_words(primary: Connection, standby: Connection) -> None:
    with (
        pytest.raises(DatabaseUnavailableError, match="on the primary"),
        outages_explained(standby.info.dsn),
    ):
        append_json(standby, uuid4(), [SHIPPED])


def test_a_named_consumer_may_read_on_the_standby_and_keeps_its_watermark_on_the_primary(
    primary: Connection, standby: Connection
) -> None:
    seen = append(primary)
    publish(primary, standby)
    given = [event.id for event in subscribe(primary, "billing", follow=False, replica=standby)]
    assert given[-1] == seen
    assert consumer_watermark(primary, "billing") == seen


def test_a_publisher_that_does_not_commit_keeps_no_other_waiting(
    servers: tuple[Server, Server], primary: Connection, standby: Connection
) -> None:
    publish(primary, standby)
    primary.execute("UPDATE scanned_horizon SET noted_at = '-infinity'")  # it is time to note it again
    with open_connection(servers[0].url) as idle, idle.transaction():
        idle.execute("SELECT publish_horizon()")
        seen = append(primary)
        primary.execute("SET statement_timeout = '5s'")
        assert feed.read(primary, None, 1000)[-1].id == seen


def test_the_first_publisher_keeps_no_other_waiting_either(
    servers: tuple[Server, Server], primary: Connection
) -> None:
    with open_connection(servers[0].url) as idle, idle.transaction():
        idle.execute("SELECT publish_horizon()")
        primary.execute("SET statement_timeout = '5s'")
        feed.publish_horizon(primary)
    assert primary.execute("SELECT count(*) FROM scanned_horizon").fetchone() == (1,)


def test_the_row_never_goes_back(servers: tuple[Server, Server], primary: Connection) -> None:
    feed.publish_horizon(primary)
    (before,) = primary.execute("SELECT horizon_ms FROM scanned_horizon").fetchone() or (0,)
    primary.execute("UPDATE scanned_horizon SET horizon_ms = horizon_ms + 5000, noted_at = '-infinity'")
    feed.publish_horizon(primary)
    assert primary.execute("SELECT horizon_ms FROM scanned_horizon").fetchone() == (before + 5000,)
