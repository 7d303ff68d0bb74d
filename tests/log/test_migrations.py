"""The schema moves forwards from every revision, with data in it, and keeps the data.

A fresh install and a database that was upgraded through every revision have the same schema, object by object
and as pg_dump sees it. Of a released revision the database also has the functions of that release.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.schema import migrate
from eventstore.log.schema.functions import create_functions
from eventstore.orders.domain import DOMAIN
from eventstore.server.cluster import program
from eventstore.server.errors import ServerError
from tests.buckets import part
from tests.log.filling import counts, fill
from tests.log.releases import give_functions, released
from tests.log.schema_objects import objects
from tests.robustness import old_release
from tests.robustness.everything import done
from tests.robustness.old_release import fingerprint
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


def as_released(url: str, revision: str) -> None:
    """Bring a database to a revision, with the functions that the release of it created."""
    upgrade(url, revision)
    with psycopg.connect(url) as connection:
        give_functions(connection, revision)


def dump(url: str) -> list[str]:
    """The schema as pg_dump writes it, without what is different each time."""
    command = [str(program("pg_dump")), "--schema-only", url]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [line for line in text.splitlines() if not line.startswith((r"\restrict", r"\unrestrict"))]


@pytest.mark.parametrize("revision", migrate.revisions())
def test_a_database_of_any_revision_moves_forwards_and_keeps_its_events(
    new_database: Callable[..., str], connection: psycopg.Connection[Any], revision: str
) -> None:
    url = new_database(migrated=False)
    as_released(url, revision)
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


def test_through_every_revision_with_a_row_in_every_table_the_schema_is_that_of_a_fresh_install(
    new_database: Callable[..., str], database_url: str, connection: psycopg.Connection[Any]
) -> None:
    url = new_database(migrated=False)
    with psycopg.connect(url, autocommit=True) as upgraded:
        before: dict[str, int] = {}
        events = fingerprint_of_nothing = (0, "")
        for revision in migrate.revisions():
            as_released(url, revision)
            after = counts(upgraded)
            assert {table: after[table] for table in before} == before, f"rows went away in {revision}"
            if events != fingerprint_of_nothing:
                assert fingerprint(url) == events
            append(url)
            left_empty = fill(upgraded)
            if revision in released():
                assert left_empty == []
            before, events = counts(upgraded), fingerprint(url)
        upgrade(url)
        assert objects(upgraded) == objects(connection)
    assert dump(url) == dump(database_url)


def test_through_every_revision_the_read_models_are_refreshed_as_ever(
    new_database: Callable[..., str], connection: psycopg.Connection[Any]
) -> None:
    url = new_database(migrated=False)
    for revision in migrate.revisions():
        as_released(url, revision)
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


CHANGES = [
    f"ALTER TABLE {part('order_events', 3)} ENABLE TRIGGER append_only",
    "ALTER TABLE order_events DISABLE TRIGGER guard",
    "ALTER TABLE order_events ALTER source SET DEFAULT 'x'",
    "ALTER TABLE order_events ALTER metadata DROP DEFAULT",
    "ALTER TABLE rejects ALTER detail DROP NOT NULL",
    "ALTER TABLE rejects ALTER line TYPE int",
    "ALTER TABLE rejects ALTER detail SET STATISTICS 500",
    "ALTER TABLE rejects ALTER detail SET STORAGE EXTERNAL",
    "ALTER TABLE rejects ALTER detail SET (n_distinct = 5)",
    "ALTER TABLE rejects ALTER id SET GENERATED BY DEFAULT",
    "ALTER TABLE rejects ALTER id SET CACHE 5",
    "ALTER TABLE rejects SET (fillfactor = 50)",
    "ALTER TABLE rejects SET (autovacuum_enabled = off)",
    "ALTER TABLE rejects SET UNLOGGED",
    "ALTER TABLE rejects ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE rejects REPLICA IDENTITY FULL",
    "ALTER TABLE rejects OWNER TO eventstore_reader",
    "ALTER TABLE rejects RENAME TO refused",
    "ALTER TABLE rejects ADD CHECK (line > 0)",
    "ALTER TABLE rejects ADD CHECK (line > 0) NOT VALID",
    f"ALTER TABLE order_events DETACH PARTITION {part('order_events', 3)}",
    "ALTER TABLE settings DROP CONSTRAINT max_hold_is_between_10_seconds_and_1_day",
    "CREATE POLICY all_of_it ON rejects USING (true)",
    "CREATE RULE none AS ON DELETE TO rejects DO INSTEAD NOTHING",
    "CREATE STATISTICS lines ON file, line FROM rejects",
    "CREATE INDEX ON rejects ((line + 1)); ALTER INDEX rejects_expr_idx ALTER COLUMN 1 SET STATISTICS 200",
    "CREATE INDEX ON rejects (line)",
    "DROP INDEX order_events_feed",
    "CLUSTER rejects USING rejects_pkey",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MATERIALIZED VIEW m AS SELECT 1 WITH NO DATA",
    "CREATE OR REPLACE VIEW quarantined_orders AS SELECT projection, order_id, version, event_type, error, "
    "now() AS since FROM quarantine",
    "COMMENT ON COLUMN order_events.source IS 'x'",
    "COMMENT ON INDEX order_events_feed IS 'x'",
    "COMMENT ON TRIGGER guard ON order_events IS 'x'",
    "COMMENT ON FUNCTION clock_ms IS 'x'",
    "COMMENT ON SCHEMA public IS 'x'",
    "ALTER FUNCTION append_events RESET search_path",
    "ALTER FUNCTION append_events SECURITY INVOKER",
    "ALTER FUNCTION clock_ms STABLE",
    "ALTER FUNCTION clock_ms COST 5",
    "ALTER FUNCTION clock_ms OWNER TO eventstore_reader",
    "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN 1::bigint",
    "CREATE PROCEDURE p() LANGUAGE sql AS ''",
    "CREATE AGGREGATE a(bigint) (SFUNC = int8pl, STYPE = bigint)",
    "GRANT SELECT ON consumers TO PUBLIC",
    "GRANT SELECT (name) ON consumers TO PUBLIC",
    "GRANT SELECT ON order_events TO eventstore_reader WITH GRANT OPTION",
    "REVOKE DELETE ON order_events FROM CURRENT_USER",
    "GRANT EXECUTE ON FUNCTION hold_horizon TO PUBLIC",
    "GRANT USAGE ON SEQUENCE feed_horizon TO eventstore_writer",
    "GRANT CREATE ON SCHEMA public TO eventstore_reader",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO eventstore_reader",
    "ALTER SEQUENCE feed_horizon CACHE 2",
    "CREATE SEQUENCE s",
    "CREATE TYPE t AS ENUM ('a')",
    "CREATE DOMAIN d AS int CHECK (VALUE > 0)",
    "CREATE CAST (order_events AS text) WITH INOUT",
    "CREATE OPERATOR ~~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)",
    'CREATE COLLATION c FROM "C"',
    "CREATE TEXT SEARCH CONFIGURATION t (COPY = simple)",
    "CREATE SCHEMA other",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE PUBLICATION p FOR TABLE order_events",
    "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
    "CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION e()",
    "GRANT pg_monitor TO eventstore_reader",
    "ALTER ROLE eventstore_reader CONNECTION LIMIT 7",
]


def test_the_comparison_sees_a_small_difference_of_any_kind(connection: psycopg.Connection[Any]) -> None:
    before = objects(connection)
    for change in CHANGES:
        with connection.transaction(force_rollback=True):
            connection.execute(change.encode())
            assert objects(connection) != before, change
    assert objects(connection) == before


def test_what_is_set_for_a_database_is_seen(connection: psycopg.Connection[Any]) -> None:
    before = objects(connection)
    connection.execute(f'ALTER DATABASE "{connection.info.dbname}" SET jit = off'.encode())
    assert objects(connection).keys() - before.keys() == {("setting", "of all")}


def test_migrating_twice_changes_nothing(connection: psycopg.Connection[Any], database_url: str) -> None:
    before = objects(connection)
    upgrade(database_url)
    assert objects(connection) == before


def test_a_database_of_a_later_release_is_left_alone(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    connection.execute("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(ServerError, match="revision later, which this release does not know"):
        upgrade(database_url)


def test_the_functions_of_a_domain_are_brought_with_those_of_the_log_and_stay_without_it(
    connection: psycopg.Connection[Any], database_url: str, tmp_path: Path
) -> None:
    ask = "SELECT payload_problem('X', %s, '{}')"
    forbidden = Jsonb({"forbidden": 1})
    (tmp_path / "payload.sql").write_text(
        "CREATE OR REPLACE FUNCTION payload_problem(event_type text, event_data jsonb, metadata jsonb) "
        "RETURNS text LANGUAGE sql IMMUTABLE RETURN "
        "CASE WHEN event_data ? 'forbidden' THEN 'it is forbidden' END"
    )
    assert connection.execute(ask, (forbidden,)).fetchone() == (None,)
    migrate.upgrade(database_url, functions=tmp_path)
    assert connection.execute(ask, (forbidden,)).fetchone() == ("it is forbidden",)
    migrate.upgrade(database_url)
    with pytest.raises(psycopg.errors.CheckViolation, match="event X cannot be recorded: it is forbidden"):
        connection.execute(
            "SELECT append_events(%s, %s)", (uuid4(), Jsonb([{"type": "X", "data": {"forbidden": 1}}]))
        )


def test_without_a_domain_the_log_takes_any_object(new_database: Callable[..., str]) -> None:
    url = new_database(migrated=False)
    migrate.upgrade(url)
    with psycopg.connect(url) as connection:
        events = Jsonb([{"type": "X", "data": {"amount": 1.5}}])
        connection.execute("SELECT append_events(%s, %s)", (uuid4(), events))
        with pytest.raises(psycopg.errors.CheckViolation, match="must be a JSON object"):
            connection.execute("SELECT append_events(%s, %s)", (uuid4(), Jsonb([{"type": "X", "data": []}])))


def test_functions_are_created_anew_after_a_revision_which_may_have_dropped_one(database_url: str) -> None:
    newest = migrate.revisions()[-1]
    with migrate._connection(database_url) as connection, connection.begin():
        assert not create_functions(connection, newest, DOMAIN.functions)
        connection.exec_driver_sql("DROP FUNCTION event_currency, clock_ms CASCADE")
        assert create_functions(connection, "the next", DOMAIN.functions)
        connection.exec_driver_sql("SELECT event_currency('{}'), clock_ms()")
