"""Consumers belong to a role, and stand where readers can have been."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import eventstore
from eventstore import Store
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.consumers import (
    consumer_watermark,
    consumers,
    delete_consumer,
    reset_watermark,
    save_watermark,
    subscribe,
)
from eventstore.log.errors import ConsumerOwnerError, UnknownConsumerError, WatermarkError
from eventstore.log.feed import BEGINNING, publish_horizon
from tests.log.sessions import drop_logins, make_login, until_blocked
from tests.shipped import upgrade

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
END_OF_TIME = UUID("ffffffff-ffff-ffff-ffff-ffffffffffff")
FORGED = "SELECT pg_advisory_lock_shared(17747::bigint << 48 | {})"


def append_paid(connection: Connection, number: int) -> list[UUID]:
    ids = sorted(append_json(connection, uuid4(), [PAID])[0].id for _ in range(number))
    publish_horizon(connection)
    return ids


@pytest.fixture
def login(connection: Connection, database_url: str) -> Iterator[Callable[..., Connection]]:
    """``login("ann", "eventstore_reader")``: a session of a login with these roles."""
    with ExitStack() as stack:
        stack.callback(drop_logins, connection)

        def connect(name: str, *roles: str) -> Connection:
            user = make_login(connection, name, *roles)
            return stack.enter_context(
                psycopg.connect(database_url, user=user, password="hush", autocommit=True)
            )

        yield connect


def owner_of(connection: Connection, consumer: str) -> Any:
    return connection.execute("SELECT owner FROM consumers WHERE name = %s", (consumer,)).fetchone()


def test_a_consumer_belongs_to_the_login_that_registered_it(
    connection: Connection, login: Callable[..., Connection]
) -> None:
    first, second = append_paid(connection, 2)
    ann, bob = login("ann", "eventstore_reader"), login("bob", "eventstore_reader")
    save_watermark(ann, "billing", first)
    assert owner_of(connection, "billing") == (ann.info.user,)
    for attempt in (
        lambda: save_watermark(bob, "billing", second),
        lambda: save_watermark(bob, "billing", BEGINNING),
        lambda: reset_watermark(bob, "billing", BEGINNING),
        lambda: delete_consumer(bob, "billing"),
        lambda: next(subscribe(bob, "billing")),
    ):
        with pytest.raises(
            ConsumerOwnerError, match=f"'billing' belongs to the role {ann.info.user}, and {bob.info.user}"
        ):
            attempt()
    assert consumer_watermark(connection, "billing") == first
    save_watermark(ann, "billing", second)
    save_watermark(connection, "billing", second)  # a superuser


def test_members_of_the_owner_may_do_what_it_may(
    connection: Connection, login: Callable[..., Connection]
) -> None:
    (first,) = append_paid(connection, 1)
    ann, deputy = login("ann", "eventstore_reader"), login("deputy")
    connection.execute(f'GRANT "{ann.info.user}" TO "{deputy.info.user}"')
    save_watermark(ann, "billing", BEGINNING)
    save_watermark(deputy, "billing", first)
    assert owner_of(connection, "billing") == (ann.info.user,)


def test_a_consumer_of_before_belongs_to_whoever_saves_first(
    connection: Connection, login: Callable[..., Connection]
) -> None:
    first, _ = append_paid(connection, 2)
    connection.execute("INSERT INTO consumers (name, watermark) VALUES ('old', %s)", (first,))
    ann, bob = login("ann", "eventstore_reader"), login("bob", "eventstore_reader")
    save_watermark(ann, "old", BEGINNING)
    assert owner_of(connection, "old") == (ann.info.user,)
    assert consumer_watermark(connection, "old") == first
    with pytest.raises(ConsumerOwnerError):
        save_watermark(bob, "old", first)


def test_a_consumer_whose_role_is_gone_belongs_to_whoever_saves_first(
    connection: Connection, login: Callable[..., Connection]
) -> None:
    connection.execute("INSERT INTO consumers (name, owner) VALUES ('left', 'nobody at all')")
    ann = login("ann", "eventstore_reader")
    save_watermark(ann, "left", BEGINNING)
    assert owner_of(connection, "left") == (ann.info.user,)


def test_of_two_first_savers_one_owns_the_consumer_and_the_other_is_refused(
    connection: Connection, login: Callable[..., Connection]
) -> None:
    ann, bob = login("ann", "eventstore_reader"), login("bob", "eventstore_reader")
    with ThreadPoolExecutor(1) as pool:
        with ann.transaction():
            save_watermark(ann, "billing", BEGINNING)
            second = pool.submit(save_watermark, bob, "billing", BEGINNING)
            until_blocked(connection, bob.info.backend_pid)
        with pytest.raises(ConsumerOwnerError, match="belongs to"):
            second.result()
    with ThreadPoolExecutor(1) as pool:
        with ann.transaction(force_rollback=True):
            save_watermark(ann, "other", BEGINNING)
            second = pool.submit(save_watermark, bob, "other", BEGINNING)
            until_blocked(connection, bob.info.backend_pid)
        second.result()
    assert owner_of(connection, "other") == (bob.info.user,)


def test_waiting_for_the_row_of_a_consumer_ends_with_the_name_of_who_holds_it(
    connection: Connection, login: Callable[..., Connection]
) -> None:
    ann = login("ann", "eventstore_reader")
    save_watermark(ann, "billing", BEGINNING)
    (first,) = append_paid(connection, 1)
    connection.execute("ALTER FUNCTION save_watermark SET lock_timeout = '100ms'")
    with ann.transaction():
        save_watermark(ann, "billing", first)
        with pytest.raises(
            eventstore.ConsumerBusyError, match=f"by pid {ann.info.backend_pid} .role {ann.info.user}"
        ):
            save_watermark(connection, "billing", first)


def test_readers_cannot_write_the_rows_themselves(login: Callable[..., Connection]) -> None:
    ann = login(
        "ann", "eventstore_reader", "eventstore_projector", "eventstore_writer", "eventstore_ingester"
    )
    save_watermark(ann, "billing", BEGINNING)
    for statement in (
        "INSERT INTO consumers (name) VALUES ('x')",
        "UPDATE consumers SET owner = NULL",
        "DELETE FROM consumers",
        "TRUNCATE consumers",
        "SELECT own_consumer('billing')",
        "SELECT claim_consumer('billing')",
        "UPDATE settings SET max_hold = '1 day'",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ann.execute(statement)


def test_a_watermark_above_the_horizon_is_refused_and_a_lower_one_stays_a_no_op(
    connection: Connection,
) -> None:
    first, second = append_paid(connection, 2)
    save_watermark(connection, "billing", second)
    (unpublished,) = [event.id for event in append_json(connection, uuid4(), [PAID])]
    for above in (unpublished, END_OF_TIME):
        with pytest.raises(WatermarkError, match=r"above the horizon.*Save the id of the last event"):
            save_watermark(connection, "billing", above)
        with pytest.raises(psycopg.DatabaseError) as refused:
            connection.execute("SELECT save_watermark('new', %s)", (above,))
        assert refused.value.sqlstate == "ES002"
    save_watermark(connection, "billing", first)
    assert consumer_watermark(connection, "billing") == second
    assert [consumer.name for consumer in consumers(connection)] == ["billing"]


def test_a_watermark_behind_an_open_append_is_refused_until_it_commits(
    connection: Connection, database_url: str
) -> None:
    with open_connection(database_url) as slow, slow.transaction():
        append_json(slow, uuid4(), [PAID])
        (fast,) = append_paid(connection, 1)
        with pytest.raises(WatermarkError):
            save_watermark(connection, "billing", fast)
    save_watermark(connection, "billing", fast)


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_watermark_is_saved_in_a_transaction_of_any_isolation(
    connection: Connection, isolation: str
) -> None:
    (first,) = append_paid(connection, 1)
    with connection.transaction():
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        save_watermark(connection, "billing", first)
    assert consumer_watermark(connection, "billing") == first


@pytest.mark.parametrize(
    ("consumer", "watermark"), [(None, BEGINNING), ("", BEGINNING), ("x" * 201, BEGINNING), ("x", None)]
)
def test_nothing_as_name_or_watermark_is_refused_in_words(
    connection: Connection, consumer: Any, watermark: Any
) -> None:
    for call in (save_watermark, reset_watermark):
        with pytest.raises(WatermarkError, match=r"needs a name of 1 to 200 characters|is null: give the id"):
            call(connection, consumer, watermark)


@pytest.mark.parametrize("floor", [0, 1])
def test_a_forged_announcement_of_the_past_does_not_end_a_consumer(
    store: Store, connection: Connection, database_url: str, floor: int, caplog: pytest.LogCaptureFixture
) -> None:
    ids = append_paid(connection, 3)
    events = store.subscribe("billing")
    assert next(events).id == ids[0]
    with psycopg.connect(database_url) as forger:
        forger.execute(FORGED.format(floor))
        assert next(events).id == ids[1]
        with caplog.at_level(logging.WARNING):
            events.close()  # type: ignore[attr-defined]
        assert "delivered again" in caplog.text
        assert consumer_watermark(connection, "billing") == BEGINNING
        forger.execute("SELECT pg_advisory_unlock_all()")  # a session ends some time after it was closed
    assert [event.id for event in store.subscribe("billing", follow=False)] == ids
    assert consumer_watermark(connection, "billing") == ids[-1]


def test_reset_goes_back_and_forwards_but_not_above_the_horizon(store: Store, connection: Connection) -> None:
    ids = append_paid(connection, 4)
    list(store.subscribe("billing", follow=False))
    reset_watermark(connection, "billing", ids[1])
    assert [event.id for event in store.subscribe("billing", follow=False)] == ids[2:]
    reset_watermark(connection, "billing", BEGINNING)
    reset_watermark(connection, "billing", ids[2])
    assert [event.id for event in store.subscribe("billing", follow=False)] == ids[3:]
    with pytest.raises(WatermarkError, match="above the horizon"):
        reset_watermark(connection, "billing", END_OF_TIME)
    with pytest.raises(UnknownConsumerError, match="there is no consumer 'biling'"):
        reset_watermark(connection, "biling", BEGINNING)


def test_a_deleted_consumer_begins_at_the_beginning(store: Store, connection: Connection) -> None:
    ids = append_paid(connection, 2)
    list(store.subscribe("billing", follow=False))
    delete_consumer(connection, "billing")
    assert consumers(connection) == []
    assert [event.id for event in store.subscribe("billing", follow=False)] == ids
    with pytest.raises(UnknownConsumerError):
        delete_consumer(connection, "other")


def test_a_consumer_that_is_followed_is_neither_reset_nor_deleted_and_says_by_whom(
    store: Store, connection: Connection, database_url: str
) -> None:
    append_paid(connection, 2)
    with psycopg.connect(database_url, application_name="the biller", autocommit=True) as follower:
        events = subscribe(follower, "billing")
        next(events)
        pid = follower.info.backend_pid
        assert [consumer.followed_by for consumer in consumers(connection)] == [[pid]]
        for attempt in (
            lambda: reset_watermark(connection, "billing", BEGINNING),
            lambda: delete_consumer(connection, "billing"),
            lambda: next(store.subscribe("billing")),
        ):
            with pytest.raises(
                eventstore.ConsumerBusyError, match=f"pid {pid} .role .*, application the biller.* since "
            ):
                attempt()
        events.close()  # type: ignore[attr-defined]
    delete_consumer(connection, "billing")


def test_the_database_that_we_make_lets_only_our_roles_connect(
    new_database: Callable[..., str], connection: Connection, login: Callable[..., Connection]
) -> None:
    url = new_database(migrated=False)
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    connection.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    upgrade(url)
    reader, stranger = login("reader", "eventstore_reader"), login("stranger")
    psycopg.connect(url, user=reader.info.user, password="hush").close()
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(url, user=stranger.info.user, password="hush")


def test_a_database_of_others_keeps_its_rules_of_who_may_connect(
    database_url: str, connection: Connection
) -> None:
    assert connection.execute(
        "SELECT count(*) FROM pg_database, aclexplode(datacl) a JOIN pg_roles r ON r.oid = a.grantee "
        "WHERE datname = current_database() AND r.rolname LIKE 'eventstore%'"
    ).fetchone() == (0,)
