"""The schema moves forwards from every revision, with data in it, and keeps the data."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.schema import migrate

EVENTS = Jsonb(
    [
        {"type": "OrderShipped", "data": {}, "created_at": "2026-03-01T12:00:00Z"},
        {"type": "OrderDelivered", "data": {}, "created_at": "2026-03-02T12:00:00Z"},
    ]
)


def columns(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2"
    ).fetchall()


@pytest.mark.parametrize("revision", migrate.revisions())
def test_a_database_of_any_revision_moves_forwards_and_keeps_its_events(
    new_database: Callable[..., str], connection: psycopg.Connection[Any], revision: str
) -> None:
    url, order = new_database(migrated=False), uuid4()
    migrate.upgrade(url, revision)
    assert migrate.current(url) == revision
    with psycopg.connect(url) as old:
        old.execute("SELECT append_events(%s, %s)", (order, EVENTS))
    migrate.upgrade(url)
    assert migrate.current(url) == migrate.revisions()[-1]
    with psycopg.connect(url) as new:
        kept = new.execute(
            "SELECT version, event_type FROM order_events WHERE order_id = %s ORDER BY 1", (order,)
        ).fetchall()
        assert kept == [(1, "OrderShipped"), (2, "OrderDelivered")]
        assert columns(new) == columns(connection)


def test_migrating_twice_changes_nothing(connection: psycopg.Connection[Any], database_url: str) -> None:
    before = columns(connection)
    migrate.upgrade(database_url)
    assert columns(connection) == before
