"""The schema moves forwards from every revision, with data in it, and keeps the data."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.schema import migrate
from tests.log.schema_objects import objects
from tests.robustness import old_release
from tests.robustness.everything import done
from tests.shipped import upgrade

EVENTS = Jsonb(
    [
        {"type": "OrderShipped", "data": {}, "created_at": "2026-03-01T12:00:00Z"},
        {"type": "OrderDelivered", "data": {}, "created_at": "2026-03-02T12:00:00Z"},
    ]
)


def append(url: str) -> UUID:
    order = uuid4()
    with psycopg.connect(url) as connection:
        connection.execute("SELECT append_events(%s, %s)", (order, EVENTS))
    return order


@pytest.mark.parametrize("revision", migrate.revisions())
def test_a_database_of_any_revision_moves_forwards_and_keeps_its_events(
    new_database: Callable[..., str], connection: psycopg.Connection[Any], revision: str
) -> None:
    url = new_database(migrated=False)
    upgrade(url, revision)
    assert migrate.current(url) == revision
    order = append(url)
    upgrade(url)
    assert migrate.current(url) == migrate.revisions()[-1]
    with psycopg.connect(url) as new:
        kept = new.execute(
            "SELECT version, event_type FROM order_events WHERE order_id = %s ORDER BY 1", (order,)
        ).fetchall()
        assert kept == [(1, "OrderShipped"), (2, "OrderDelivered")]
        assert objects(new) == objects(connection)


def test_through_every_revision_with_data_in_it_the_schema_is_that_of_a_fresh_install(
    new_database: Callable[..., str], connection: psycopg.Connection[Any]
) -> None:
    url = new_database(migrated=False)
    for revision in migrate.revisions():
        upgrade(url, revision)
        append(url)
        upgrade(url, revision)
    upgrade(url)
    done(url, "refresh")
    upgrade(url)
    with psycopg.connect(url) as upgraded:
        assert objects(upgraded) == objects(connection)
        assert upgraded.execute("SELECT count(*) FROM orders").fetchone() == (len(migrate.revisions()),)


def test_a_database_full_of_odd_things_gets_the_schema_of_a_fresh_install(
    new_database: Callable[..., str], connection: psycopg.Connection[Any]
) -> None:
    url = new_database(migrated=False)
    old_release.make(url)
    upgrade(url)
    with psycopg.connect(url) as upgraded:
        upgraded.execute("DROP VIEW paid_by_customer, paid; DROP FUNCTION paid_for")
        assert objects(upgraded) == objects(connection)


def test_the_comparison_sees_a_small_difference(connection: psycopg.Connection[Any]) -> None:
    for change in (
        "ALTER TABLE order_events_03 ENABLE TRIGGER append_only",
        "ALTER TABLE order_events ALTER source SET DEFAULT 'x'",
        "COMMENT ON COLUMN order_events.source IS 'x'",
        "ALTER FUNCTION append_events RESET search_path",
        "ALTER FUNCTION clock_ms STABLE",
        "GRANT SELECT ON consumers TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION hold_horizon TO PUBLIC",
        "DROP INDEX order_events_feed",
        "ALTER SEQUENCE feed_horizon CACHE 2",
    ):
        before = objects(connection)
        with connection.transaction(force_rollback=True):
            connection.execute(change)
            assert objects(connection) != before, change


def test_migrating_twice_changes_nothing(connection: psycopg.Connection[Any], database_url: str) -> None:
    before = objects(connection)
    upgrade(database_url)
    assert objects(connection) == before
