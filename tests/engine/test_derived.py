"""A derived table of one's own: its migration and its refresh, whoever writes the source, whatever fails."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import NullPool, create_engine

from eventstore.engine.derived import Derived, NoQueueError, refresh_derived
from eventstore.engine.projection import Projection
from eventstore.engine.refresh import refresh
from eventstore.engine.row_per_order import ROW_PER_ORDER
from eventstore.engine.standing import standing
from eventstore.kernel.codec import Codec
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.schema.steps import create_candidate, create_derived
from tests.killing import kill_when_it_waits_for_a_lock

Database = psycopg.Connection[Any]

SCHEMA = """
CREATE TABLE tried_parcels (
    order_id       uuid PRIMARY KEY,
    carrier        text,
    grams          int,
    version        int NOT NULL,
    last_event_at  timestamptz NOT NULL,
    fold_version   text
);
CREATE TABLE tried_carriers (carrier text PRIMARY KEY, parcels bigint NOT NULL, grams bigint NOT NULL);
CREATE TABLE tried_heaviest (carrier text PRIMARY KEY, grams int NOT NULL);
CREATE INDEX tried_parcels_of_a_carrier ON tried_parcels (carrier, grams);
"""
ADDS = "SELECT carrier, 1 AS parcels, coalesce(grams, 0) AS grams FROM changed"
TOUCHES = "SELECT carrier FROM changed WHERE grams IS NOT NULL"
HEAVIEST = """
    SELECT carrier, max(grams) AS grams FROM changed_groups JOIN tried_parcels USING (carrier)
     WHERE grams IS NOT NULL GROUP BY carrier
"""


class Parcel(msgspec.Struct, kw_only=True):
    order_id: UUID
    carrier: str | None = None
    grams: int | None = None
    version: int = 0
    last_event_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    fold_version: str | None = None


@dataclass(frozen=True)
class ParcelRules:
    version: str = "1"

    def apply(self, parcel: Parcel, recorded: Any, _: datetime) -> None:
        sent = msgspec.json.decode(recorded.data)
        parcel.carrier, parcel.grams = sent["carrier"], sent["grams"]

    def knows(self, _: str) -> bool:
        return True


PARCELS: Projection[Any] = Projection(
    name="tried_parcels",
    description="What was sent.",
    initial=lambda order_id: Parcel(order_id=order_id),
    foldings=(ParcelRules(),),
    events=Codec(()),
    layout=ROW_PER_ORDER,
)
CARRIERS = Derived(
    name="tried_carriers", description="What each carrier carries.", source=PARCELS, key=("carrier",)
)


@pytest.fixture
def heaviest(tmp_path: Path) -> Derived:
    (tmp_path / "heaviest.sql").write_text(HEAVIEST)
    return replace(CARRIERS, name="tried_heaviest", statement=tmp_path / "heaviest.sql")


def migrate(url: str) -> None:
    """As a revision of somebody's own would."""
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(SCHEMA)
        create_candidate(connection, "tried_parcels")
        create_derived(connection, "tried_carriers", source="tried_parcels", adds=ADDS)
        create_derived(connection, "tried_heaviest", source="tried_parcels", adds=TOUCHES)


@pytest.fixture
def database(connection: Database, database_url: str) -> Database:
    migrate(database_url)
    return connection


def send(connection: Database, carrier: str | None, grams: int | None, order: UUID | None = None) -> UUID:
    order = order or uuid4()
    append_json(connection, order, [{"type": "Sent", "data": {"carrier": carrier, "grams": grams}}])
    return order


def rows(connection: Database, derived: Derived = CARRIERS) -> dict[str, Any]:
    """By group what the table says, after a refresh of it and of its source."""
    refresh(connection, PARCELS)
    refresh_derived(connection, derived)
    return shown(connection, derived)


def shown(connection: Database, derived: Derived = CARRIERS) -> dict[str, Any]:
    found = connection.execute(f"SELECT * FROM {derived.name}").fetchall()
    return {key: values if len(values) > 1 else values[0] for key, *values in found}


def noted(connection: Database) -> list[tuple[Any, ...]]:
    return connection.execute("SELECT carrier, parcels, grams FROM tried_carriers_changes").fetchall()


def test_a_table_of_sums_needs_nothing_but_what_a_row_adds(database: Database) -> None:
    parcel = send(database, "A", 5)
    send(database, "A", 7)
    send(database, None, 100)  # of no carrier yet
    assert rows(database) == {"A": [2, 12]}
    send(database, "B", 6, parcel)
    assert rows(database) == {"A": [1, 7], "B": [1, 6]}
    database.execute("DELETE FROM tried_parcels WHERE carrier = 'A'")
    assert rows(database) == {"B": [1, 6]}


def test_a_statement_computes_the_groups_that_changed_old_and_new(
    database: Database, heaviest: Derived
) -> None:
    heavy = send(database, "A", 50)
    send(database, "A", 7)
    send(database, "B", 1)
    assert rows(database, heaviest) == {"A": 50, "B": 1}
    send(database, "B", 40, heavy)
    assert rows(database, heaviest) == {"A": 7, "B": 40}
    database.execute("UPDATE tried_parcels SET grams = NULL WHERE carrier = 'A'")
    assert rows(database, heaviest) == {"B": 40}


def test_a_refresh_computes_no_other_group_than_those_that_changed(
    database: Database, heaviest: Derived
) -> None:
    for carrier in "ABC":
        send(database, carrier, 1)
    rows(database, heaviest)
    database.execute("SET eventstore.refreshing = 'on'")
    database.execute("UPDATE tried_heaviest SET grams = 99")  # as if it were its refresh
    send(database, "B", 2)
    assert rows(database, heaviest) == {"A": 99, "B": 2, "C": 99}


def test_its_watermark_and_rules_are_those_of_its_source(database: Database) -> None:
    send(database, "A", 5)
    rows(database)
    of_source, of_table = standing(database, "tried_parcels"), standing(database, "tried_carriers")
    assert of_source is not None
    assert of_table is not None
    assert (of_table.watermark, of_table.fold_version) == (of_source.watermark, of_source.fold_version)


def test_what_adds_nothing_is_not_noted(database: Database) -> None:
    send(database, "A", 5)
    rows(database)
    database.execute("UPDATE tried_parcels SET version = version + 1")
    database.execute("UPDATE tried_parcels SET grams = 3 WHERE false")
    assert noted(database) == []
    database.execute("UPDATE tried_parcels SET grams = 3")
    assert noted(database) == [("A", 0, -2)]


def test_the_first_refresh_after_the_migration_takes_in_what_was_there_before(
    database: Database, heaviest: Derived
) -> None:
    send(database, "A", 5)
    database.execute("ALTER TABLE tried_parcels DISABLE TRIGGER ALL")
    refresh(database, PARCELS)
    database.execute("ALTER TABLE tried_parcels ENABLE TRIGGER ALL")
    assert rows(database) == {"A": [1, 5]}
    assert rows(database, heaviest) == {"A": 5}


@pytest.mark.parametrize(
    "deed",
    [
        "UPDATE tried_carriers SET grams = 1",
        "DELETE FROM tried_carriers",
        "TRUNCATE tried_carriers",
        "INSERT INTO tried_carriers VALUES ('C', 1, 1)",
        "DELETE FROM tried_carriers_changes",
        "TRUNCATE tried_carriers_changes",
        "UPDATE tried_carriers_changes SET grams = 1",
        "DELETE FROM projections WHERE name = 'tried_carriers'",
        "UPDATE projections SET watermark = 'ffffffff-ffff-ffff-ffff-ffffffffffff' "
        "WHERE name = 'tried_carriers'",
    ],
)
def test_whatever_somebody_does_to_the_table_or_its_queue_the_next_refresh_puts_right(
    database: Database, deed: str
) -> None:
    parcel = send(database, "A", 5)
    rows(database)
    send(database, "B", 7, parcel)
    refresh(database, PARCELS)
    database.execute(deed)
    assert rows(database) == {"B": [1, 7]}


def test_notes_that_contradict_the_table_make_it_computed_anew(database: Database) -> None:
    """As where somebody switched the triggers off for a while."""
    database.execute("ALTER TABLE tried_carriers ADD CHECK (parcels >= 0)")
    parcel = send(database, "A", 5)
    rows(database)
    database.execute("ALTER TABLE tried_parcels DISABLE TRIGGER USER")
    send(database, "A", 1)
    send(database, "B", 1, parcel)
    refresh(database, PARCELS)
    database.execute("ALTER TABLE tried_parcels ENABLE TRIGGER USER")
    assert rows(database) == {"A": [1, 5]}
    database.execute("DELETE FROM tried_parcels WHERE carrier = 'B'")
    assert rows(database) == {"A": [1, 1]}


def test_an_error_in_what_a_row_adds_stops_the_table_not_its_source(
    database: Database,
) -> None:
    parcel = send(database, "A", 5)
    rows(database)
    database.execute(
        "UPDATE change_queues SET adds = 'SELECT carrier, 1 AS parcels, 10 / grams AS grams FROM changed' "
        "WHERE name = 'tried_carriers'"
    )
    send(database, "A", 0, parcel)
    refresh(database, PARCELS)
    assert database.execute("SELECT grams FROM tried_parcels").fetchall() == [(0,)]
    with pytest.raises(psycopg.errors.DivisionByZero):
        refresh_derived(database, CARRIERS)
    assert shown(database) == {"A": [1, 5]}
    database.execute("UPDATE change_queues SET adds = %s WHERE name = 'tried_carriers'", (ADDS,))
    assert rows(database) == {"A": [1, 0]}


def test_what_a_writer_has_not_committed_is_left_for_later(database: Database, database_url: str) -> None:
    send(database, "A", 5)
    rows(database)
    with open_connection(database_url) as writer:
        with writer.transaction():
            writer.execute("INSERT INTO tried_parcels VALUES (%s, 'B', 1, 1, now())", (uuid4(),))
            assert rows(database) == {"A": [1, 5]}
        assert rows(database) == {"A": [1, 5], "B": [1, 1]}


def test_a_refresh_sees_source_queue_and_watermark_at_one_moment(
    database: Database, database_url: str, heaviest: Derived
) -> None:
    """Whatever commits between its statements."""
    send(database, "A", 5)
    rows(database, heaviest)
    send(database, "A", 7)
    refresh(database, PARCELS)
    before = standing(database, "tried_parcels")

    class Interrupted(psycopg.Connection[Any]):
        def execute(self, query: Any, *given: Any, **named: Any) -> Any:
            if isinstance(query, sql.Composable) and query.as_string(self).startswith("ANALYZE"):
                send(database, "A", 9)
                refresh(database, PARCELS)
            return super().execute(query, *given, **named)

    with Interrupted.connect(database_url, autocommit=True) as interrupted:
        refresh_derived(interrupted, heaviest)
    assert shown(database, heaviest) == {"A": 7}
    now = standing(database, "tried_heaviest")
    assert before is not None
    assert now is not None
    assert now.watermark == before.watermark
    assert rows(database, heaviest) == {"A": 9}


def test_refreshes_at_once_take_turns(database: Database, database_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for number in range(20):
            send(database, "A", 1)
            refresh(database, PARCELS)
            connections = [open_connection(database_url) for _ in range(4)]
            list(threads.map(lambda one: refresh_derived(one, CARRIERS), connections))
            for each in connections:
                each.close()
            assert shown(database) == {"A": [number + 1, number + 1]}


REFRESH = """
import sys
from eventstore.engine.derived import refresh_derived
from eventstore.log.connection import open_connection
from tests.engine.test_derived import CARRIERS
refresh_derived(open_connection(sys.argv[1], application_name="victim"), CARRIERS)
"""


@pytest.mark.parametrize("table", ["tried_carriers", "tried_carriers_changes", "projections"])
def test_a_refresh_that_is_killed_is_redone_not_doubled(
    database: Database, database_url: str, table: str
) -> None:
    parcel = send(database, "A", 5)
    rows(database)
    send(database, "B", 7, parcel)
    refresh(database, PARCELS)
    kill_when_it_waits_for_a_lock(REFRESH, database_url, database, table)
    assert shown(database) == {"A": [1, 5]}
    assert rows(database) == {"B": [1, 7]}


@pytest.fixture
def login(database: Database, database_url: str) -> Callable[[str], Database]:
    """Opens a session of a new role with these rights."""

    def opened(rights: str) -> Database:
        role = sql.Identifier(f"role_{uuid4().hex}")
        database.execute(sql.SQL("CREATE ROLE {}").format(role))
        database.execute(sql.SQL("GRANT " + rights + " TO {}").format(role))
        connection = open_connection(database_url)
        connection.execute(sql.SQL("SET ROLE {}").format(role))
        return connection

    return opened


def test_the_projector_may_refresh_source_and_table(
    database: Database, login: Callable[[str], Database], heaviest: Derived
) -> None:
    with login("eventstore_projector") as projector:
        parcel = send(database, "A", 5)
        assert rows(projector) == {"A": [1, 5]}
        send(database, "B", 7, parcel)
        assert rows(projector) == {"B": [1, 7]}
        assert rows(projector, heaviest) == {"B": 7}
        refresh_derived(projector, CARRIERS, rebuild=True)


def test_whoever_may_write_the_source_need_not_know_of_the_queue(
    database: Database, login: Callable[[str], Database]
) -> None:
    send(database, "A", 5)
    rows(database)
    with login("SELECT, UPDATE ON tried_parcels") as somebody:
        somebody.execute("UPDATE tried_parcels SET grams = 6")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            somebody.execute("SELECT * FROM tried_carriers_changes")
    assert rows(database) == {"A": [1, 6]}


def test_nobody_else_can_forge_notes_or_change_what_is_noted(
    database: Database, login: Callable[[str], Database]
) -> None:
    database.execute("CREATE SCHEMA theirs; CREATE TABLE theirs.tried_parcels (LIKE tried_parcels)")
    with login("CREATE, USAGE ON SCHEMA theirs") as stranger:
        stranger.execute("CREATE TABLE theirs.mine (LIKE pg_class)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute(
                "CREATE TRIGGER forge AFTER INSERT ON theirs.mine REFERENCING NEW TABLE AS new_rows "
                "FOR EACH STATEMENT EXECUTE FUNCTION public.note_changes('tried_carriers')"
            )
    for role in ("eventstore_projector", "eventstore_reader", "eventstore_ingester", "eventstore_writer"):
        with login(role) as member, pytest.raises(psycopg.errors.InsufficientPrivilege):
            member.execute("UPDATE change_queues SET adds = 'SELECT 1'")


def test_a_table_without_a_queue_says_what_its_migration_lacks(database: Database) -> None:
    database.execute("CREATE TABLE forgotten (carrier text PRIMARY KEY)")
    with pytest.raises(NoQueueError, match="must call create_derived"):
        refresh_derived(database, replace(CARRIERS, name="forgotten"))
