"""Epochs: who is told that the log went on otherwise, and from where he goes on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.log import feed
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.consumers import (
    accept_epoch,
    consumer_watermark,
    reset_watermark,
    save_watermark,
    subscribe,
)
from eventstore.log.epochs import begin_epoch, current_epoch, epochs, settle_epoch
from eventstore.log.errors import DatabaseUnavailableError, EpochError, EventStoreError
from eventstore.log.outages import outages_explained
from eventstore.log.position import START, Position
from tests.log.pausing import is_blocked, set_clock, until
from tests.log.sessions import drop_logins, make_login

Connection = psycopg.Connection[Any]
SHIPPED = {"type": "OrderShipped", "data": {}}
NOON = 1_900_000_000_000


@pytest.fixture
def other(database_url: str) -> Iterator[Connection]:
    with open_connection(database_url) as connection:
        yield connection


def append(connection: Connection) -> UUID:
    (recorded,) = append_json(connection, uuid4(), [SHIPPED])
    return recorded.id


def publish(connection: Connection) -> None:
    connection.execute("UPDATE scanned_horizon SET noted_at = '-infinity'")
    feed.publish_horizon(connection)


def move(url: str) -> Connection:
    """A session with the log on another server, as far as its functions can tell."""
    with open_connection(url) as connection:
        connection.execute("UPDATE scanned_horizon SET timeline = timeline + 1")
    return open_connection(url)


def restored(connection: Connection) -> None:
    begin_epoch(connection, "restore", "the disk was gone", None, "ann")


def ids(page: feed.Page) -> list[UUID]:
    return [event.id for event in page.events]


# Positions


def test_a_reader_gets_its_next_position_with_each_page_and_an_empty_page_leaves_it(
    connection: Connection,
) -> None:
    assert feed.read_page(connection, START) == ([], START)
    first, second = append(connection), append(connection)
    page = feed.read_page(connection, START, limit=1)
    assert (ids(page), page.position) == ([first], Position(1, first))
    page = feed.read_page(connection, page.position)
    assert (ids(page), page.position) == ([second], Position(1, second))
    assert feed.read_page(connection, page.position) == ([], page.position)


def test_a_reader_whose_position_is_in_both_histories_goes_on_and_is_in_the_new_epoch(
    connection: Connection,
) -> None:
    seen = append(connection)
    publish(connection)
    restored(connection)
    new = append(connection)
    page = feed.read_page(connection, Position(1, seen))
    assert (ids(page), page.position) == ([new], Position(2, new))


def test_a_reader_beyond_the_end_of_its_epoch_is_told_the_range_and_where_to_go_on(
    connection: Connection,
) -> None:
    common = append(connection)
    publish(connection)
    beyond = append(connection)  # nobody can tell who was given it
    restored(connection)
    new = append(connection)
    with pytest.raises(EpochError) as told:
        feed.read_page(connection, Position(1, beyond))
    assert f"above {common} up to {beyond}" in str(told.value)
    assert "the disk was gone" in str(told.value)
    assert told.value.accepted == Position(2, common)
    assert ids(feed.read_page(connection, told.value.accepted)) == [beyond, new]


def test_a_reader_that_skipped_several_epochs_goes_on_behind_the_one_that_kept_least(
    connection: Connection,
) -> None:
    first = append(connection)
    publish(connection)
    second = append(connection)
    restored(connection)
    publish(connection)
    third = append(connection)
    publish(connection)
    restored(connection)
    with pytest.raises(EpochError) as told:
        feed.read_page(connection, Position(1, third))
    assert told.value.accepted == Position(3, first)
    assert ids(feed.read_page(connection, Position(2, second))) == [third]


def test_a_position_of_an_epoch_that_has_not_begun_is_another_log(
    connection: Connection, database_url: str
) -> None:
    with (
        pytest.raises(DatabaseUnavailableError, match="epoch 1, and the position is of epoch 2"),
        outages_explained(database_url),
    ):
        feed.read_page(connection, Position(2, feed.BEGINNING))


def test_in_sql_a_reader_passes_its_epoch(connection: Connection) -> None:
    common = append(connection)
    publish(connection)
    beyond = append(connection)
    restored(connection)
    publish(connection)
    query = "SELECT current_epoch(), id FROM read_feed(1, %s, 10)"
    assert connection.execute(query, (common,)).fetchall() == [(2, beyond)]
    with pytest.raises(psycopg.Error) as told:
        connection.execute(query, (beyond,))
    assert told.value.sqlstate == "ES003"


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":x", "0:" + str(UUID(int=1)), "-1:" + str(UUID(int=1)), "٣:x"]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        Position.parse(text)
    position = Position(7, UUID(int=1))
    assert Position.parse(str(position)) == position


# The ids of an epoch


def test_ids_of_an_epoch_lie_above_what_is_known_elsewhere_whatever_the_clock_says(
    connection: Connection, other: Connection
) -> None:
    set_clock(connection, NOON + 3_600_000)
    lost = append(connection)
    publish(connection)
    connection.execute("SELECT setval('feed_horizon', 1)")  # an older copy of it all
    connection.execute("ALTER TABLE order_events DISABLE TRIGGER ALL; DELETE FROM order_events")
    set_clock(connection, NOON)
    begin_epoch(connection, "restore", "from an older copy", lost, "ann")
    assert append(other) > lost


def test_an_absurd_id_is_not_taken_for_known(connection: Connection) -> None:
    with pytest.raises(EventStoreError, match="more than a day ahead"):
        begin_epoch(connection, "restore", "x", UUID(int=2**128 - 1), "ann")
    assert current_epoch(connection) == 1


# Finding out


def test_where_the_log_has_moved_appends_and_reads_wait_for_the_epoch(
    connection: Connection, database_url: str
) -> None:
    common = append(connection)
    publish(connection)
    with move(database_url) as here:
        for call in ("append_events(gen_random_uuid(), '[]')", "horizon_ms()", "read_events(NULL, 1)"):
            with pytest.raises(psycopg.Error) as refused:
                here.execute(f"SELECT {call}")
            assert refused.value.sqlstate == "ES004"
        assert settle_epoch(here) == 2
        assert settle_epoch(here) == 2
        here.execute("SELECT append_events(gen_random_uuid(), '[]')")
        (begun,) = epochs(here)
        assert (begun.kind, begun.last_id, begun.declared_by) == ("promotion", common, None)
        assert "timeline" in begun.reason


def test_publishing_and_appending_in_python_begin_the_epoch(
    connection: Connection, database_url: str
) -> None:
    publish(connection)
    with move(database_url) as here:
        append(here)
        assert current_epoch(here) == 2
    with move(database_url) as here:
        assert len(feed.read(here)) == 1
        assert current_epoch(here) == 3


def test_another_table_or_cluster_is_a_restore(connection: Connection, database_url: str) -> None:
    publish(connection)
    connection.execute("UPDATE scanned_horizon SET system_identifier = system_identifier + 1")
    with open_connection(database_url) as here:
        settle_epoch(here)
    connection.execute("UPDATE scanned_horizon SET log = 1")
    with open_connection(database_url) as here:
        settle_epoch(here)
    assert [epoch.kind for epoch in epochs(connection)] == ["restore", "restore"]


def test_of_two_that_find_out_at_once_one_begins_the_epoch(connection: Connection, database_url: str) -> None:
    publish(connection)
    with (
        move(database_url) as here,
        open_connection(database_url) as there,
        ThreadPoolExecutor(1) as threads,
    ):
        with here.transaction():
            settle_epoch(here)
            late = threads.submit(settle_epoch, there)
            until(lambda: late.done() or is_blocked(connection, there.info.backend_pid))
        assert late.result(30) == 2


def test_before_anything_was_published_nobody_can_have_been_given_anything(
    connection: Connection, database_url: str
) -> None:
    append(connection)
    assert settle_epoch(connection) == 1


# Consumers


def test_a_consumer_that_went_back_with_its_database_stops_until_that_is_accepted(
    connection: Connection,
) -> None:
    first, second = append(connection), append(connection)
    given = [event.id for event in subscribe(connection, "billing", follow=False, limit=1)]
    assert given == [first]
    publish(connection)
    restored(connection)
    refused = f"{first}.*comes again up to {second}.*consumers accept"
    with pytest.raises(EpochError, match=refused):
        save_watermark(connection, "billing", second)
    with pytest.raises(EpochError, match=refused):
        next(subscribe(connection, "billing"))
    assert consumer_watermark(connection, "billing") == first
    assert accept_epoch(connection, "billing") == Position(2, first)
    assert [event.id for event in subscribe(connection, "billing", follow=False)] == [second]


def test_a_consumer_may_be_reset_instead(connection: Connection) -> None:
    seen = append(connection)
    list(subscribe(connection, "billing", follow=False))
    restored(connection)
    reset_watermark(connection, "billing", feed.BEGINNING)
    assert [event.id for event in subscribe(connection, "billing", follow=False)] == [seen]


def test_where_a_replica_took_over_consumers_go_on(connection: Connection) -> None:
    list(subscribe(connection, "billing", follow=False))
    begin_epoch(connection, "promotion", "switched over", None, "ann")
    new = append(connection)
    assert [event.id for event in subscribe(connection, "billing", follow=False)] == [new]


def test_a_consumer_that_begins_in_an_epoch_has_nothing_to_accept(connection: Connection) -> None:
    restored(connection)
    seen = append(connection)
    assert [event.id for event in subscribe(connection, "billing", follow=False)] == [seen]


# Who may


def test_any_role_may_find_out_and_only_the_owner_may_declare(
    connection: Connection, database_url: str
) -> None:
    try:
        for role in ("writer", "ingester", "reader", "projector"):
            login = make_login(connection, role, f"eventstore_{role}")
            with psycopg.connect(database_url, user=login, password="hush", autocommit=True) as session:
                assert session.execute("SELECT settle_epoch(), current_epoch()").fetchone() == (1, 1)
                for call in ("begin_epoch('restore', 'x')", "check_home()", "note_horizon()", "common_id()"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        session.execute(f"SELECT {call}")
                for table in ("log_epochs", "scanned_horizon"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        session.execute(f"DELETE FROM {table}")
    finally:
        drop_logins(connection)
