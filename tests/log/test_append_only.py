"""The log is append-only for everybody, and each role may do what it is for and nothing else."""

from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from eventstore.log.append import append_json
from tests.buckets import BUCKETS, part

Connection = psycopg.Connection[Any]
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}
TABLES = ["order_events", *[part("order_events", bucket) for bucket in range(BUCKETS)]]
CHANGES = [
    "UPDATE {} SET event_type = 'x'",
    "UPDATE {} SET event_type = 'x' WHERE false",
    "DELETE FROM {}",
    "TRUNCATE {}",
    "MERGE INTO {} e USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
    "INSERT INTO {} SELECT * FROM order_events "
    "ON CONFLICT (order_id, version) DO UPDATE SET event_type = 'x'",
]
ROLES = ["eventstore_writer", "eventstore_reader", "eventstore_projector", "eventstore_ingester"]


@pytest.fixture
def log(connection: Connection) -> Connection:
    append_json(connection, uuid4(), [PAID])
    return connection


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_log_is_refused_even_for_its_owner_with_what_to_do_instead(
    log: Connection, change: str
) -> None:
    for table in TABLES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only") as refused:
            log.execute(sql.SQL(change).format(sql.Identifier(table)))
        assert "Append an event that corrects the fact" in str(refused.value.diag.message_hint)
    assert log.execute("SELECT count(*) FROM order_events").fetchone() == (1,)


def test_the_triggers_fire_for_replication_sessions_too(log: Connection) -> None:
    log.execute("SET session_replication_role = replica")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        log.execute("DELETE FROM order_events")


def may(connection: Connection, role: str, statement: str) -> bool:
    """Whether a session of that role may execute the statement (which is rolled back)."""
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True


APPEND = 'SELECT append_events(gen_random_uuid(), \'[{"type": "OrderShipped", "data": {}}]\')'
READ = "SELECT * FROM read_events(NULL, 1)"


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (APPEND, {"eventstore_writer", "eventstore_ingester"}),
        (READ, {"eventstore_reader", "eventstore_projector"}),
        ("SELECT publish_horizon()", {"eventstore_reader", "eventstore_projector"}),
        ("SELECT FROM orders", {"eventstore_reader", "eventstore_projector"}),
        ("SELECT FROM order_events", {"eventstore_reader", "eventstore_projector"}),
        (f"SELECT FROM {part('order_events', 3)}", {"eventstore_reader", "eventstore_projector"}),
        ("DELETE FROM orders", {"eventstore_projector"}),
        ("TRUNCATE orders_candidate", {"eventstore_projector"}),
        ("UPDATE projections SET fold_version = 'x'", {"eventstore_projector"}),
        ("SELECT open_staging()", {"eventstore_ingester"}),
        ("SELECT FROM rejects", {"eventstore_reader", "eventstore_projector", "eventstore_ingester"}),
        ("UPDATE rejects SET resolved_at = now()", {"eventstore_ingester"}),
        ("DELETE FROM rejects", set()),
        ("INSERT INTO order_events SELECT * FROM order_events", set()),
        ("DELETE FROM order_events", set()),
        (f"TRUNCATE {part('order_events', 2)}", set()),
        ("SELECT setval('feed_horizon', 0)", set()),
        ("ALTER TABLE order_events DISABLE TRIGGER ALL", set()),
        ("SET LOCAL session_replication_role = replica", set()),
    ],
)
def test_each_role_may_do_what_it_is_for(log: Connection, statement: str, allowed: set[str]) -> None:
    assert {role for role in ROLES if may(log, role, statement)} == allowed
