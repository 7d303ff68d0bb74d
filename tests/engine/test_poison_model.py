"""Any streams, with events that the rules fail on and states that do not fit, equal a naive fold: in the
table, in the history at every pair of moments, after a replay too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.engine import refresh as refreshing
from eventstore.engine.projection import Projection
from eventstore.engine.row_per_order import ROW_PER_ORDER
from eventstore.kernel.codec import Codec
from eventstore.log.append import append_json
from eventstore.orders.domain import HISTORY  # was HISTORY
from tests.buckets import BUCKETS, KEYS
from tests.shipped import promote_projection as promote
from tests.shipped import refresh, replay_bucket

Database = psycopg.Connection[Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FITS = range(-32_768, 32_768)  #: smallint
TABLES = f"""
CREATE TABLE tallies (order_id uuid PRIMARY KEY, total smallint NOT NULL, version int NOT NULL,
                      last_event_at timestamptz NOT NULL, fold_version text);
CREATE TABLE tallies_candidate (LIKE tallies INCLUDING ALL) PARTITION BY HASH (order_id);
CREATE TABLE tally_history (LIKE tallies, valid_from timestamptz NOT NULL, valid_to timestamptz NOT NULL,
                            recorded_from timestamptz NOT NULL, recorded_to timestamptz NOT NULL,
                            PRIMARY KEY (order_id, recorded_to, valid_from),
                            CHECK (valid_from < valid_to), CHECK (recorded_from < recorded_to));
CREATE TABLE tally_history_candidate (LIKE tally_history INCLUDING ALL) PARTITION BY HASH (order_id);
DO $$ BEGIN FOR bucket IN 0..{BUCKETS - 1} LOOP
    EXECUTE format('CREATE TABLE tallies_candidate_%1$s PARTITION OF tallies_candidate
                    FOR VALUES WITH (MODULUS {BUCKETS}, REMAINDER %2$s)',
                   lpad(bucket::text, {len(KEYS[0])}, '0'), bucket);
    EXECUTE format('CREATE TABLE tally_history_candidate_%1$s PARTITION OF tally_history_candidate
                    FOR VALUES WITH (MODULUS {BUCKETS}, REMAINDER %2$s)',
                   lpad(bucket::text, {len(KEYS[0])}, '0'), bucket);
END LOOP; END $$;
"""


class Tally(msgspec.Struct, kw_only=True):
    order_id: UUID
    total: int = 0
    version: int = 0
    last_event_at: datetime = EPOCH
    fold_version: str | None = None


@dataclass(frozen=True)
class TallyRules:
    version: str = "1"

    def apply(self, tally: Tally, recorded: Any, _: datetime) -> None:
        number = msgspec.json.decode(recorded.data)["n"]
        tally.total += number
        if recorded.event_type == "Fails":
            raise ZeroDivisionError(f"no \0 sense \ud800 in {number}")  # half of it was done

    def knows(self, _: str) -> bool:
        return True


TALLIES: Projection[Any] = Projection(
    "tallies", "Sums.", lambda order_id: Tally(order_id=order_id), (TallyRules(),), Codec(()), ROW_PER_ORDER
)
TALLY_HISTORY: Projection[Any] = replace(
    HISTORY, name="tally_history", initial=TALLIES.initial, foldings=TALLIES.foldings
)


class Told(NamedTuple):
    at: int
    version: int
    recorded: int
    fails: bool
    number: int


class Row(NamedTuple):
    total: int
    version: int
    at: int


def naive(told: list[Told], at: int | None = None) -> tuple[Row | None, int | None]:
    """The state before the first event that fails, as it was ``at``, and the version of that one."""
    folded: list[Told] = []
    stopped = None
    for event in sorted(told):
        if event.fails:
            stopped = event.version
            break
        folded.append(event)
    if sum(event.number for event in folded) not in FITS:
        ends = range(1, len(folded) + 1)
        first = next(n for n in ends if sum(event.number for event in folded[:n]) not in FITS)
        stopped = folded[first - 1].version
        folded = folded[: first - 1]
    folded = [event for event in folded if at is None or event.at <= at]
    if not folded:
        return None, stopped
    total = sum(event.number for event in folded)
    return Row(total, max(event.version for event in folded), folded[-1].at), stopped


def ms(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)


class World:
    """Some orders, what was told of them, and how it looks in the database."""

    def __init__(self, connection: Database) -> None:
        self._connection = connection
        self.orders = [uuid4(), uuid4()]

    def append(self, order: int, events: list[tuple[str, int, int]]) -> None:
        batch = [{"type": kind, "data": {"n": number}, "created_at": at} for kind, number, at in events]
        append_json(self._connection, self.orders[order], batch)

    def told(self) -> dict[UUID, list[Told]]:
        rows = self._connection.execute(
            "SELECT order_id, created_at, version, uuidv7_ms(id), event_type = 'Fails', event_data -> 'n'"
            " FROM order_events WHERE order_id = ANY(%s)",
            (self.orders,),
        ).fetchall()
        return {order: [Told(*row[1:]) for row in rows if row[0] == order] for order in self.orders}

    def rows(self) -> dict[UUID, Row]:
        rows = self._connection.execute(
            "SELECT order_id, total, version, last_event_at FROM tallies WHERE order_id = ANY(%s)",
            (self.orders,),
        )
        return {order: Row(total, version, ms(at)) for order, total, version, at in rows}

    def stopped(self, projection: str) -> dict[UUID, int]:
        rows = self._connection.execute(
            "SELECT order_id, version FROM quarantined_orders WHERE projection = %s AND order_id = ANY(%s)",
            (projection, self.orders),
        )
        return dict(rows.fetchall())

    def as_of(self, order: UUID, at: int, known: int) -> list[Row]:
        rows = self._connection.execute(
            "SELECT total, version, last_event_at FROM tally_history WHERE order_id = %(order)s"
            " AND valid_from <= %(at)s AND %(at)s < valid_to"
            " AND recorded_from <= %(known)s AND %(known)s < recorded_to",
            {
                "order": order,
                "at": EPOCH + timedelta(milliseconds=at),
                "known": EPOCH + timedelta(milliseconds=known),
            },
        )
        return [Row(total, version, ms(last)) for total, version, last in rows]


@pytest.fixture
def database(connection: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    connection.execute(TABLES)
    monkeypatch.setattr(refreshing, "_CHUNK", 3)
    return connection


def events(numbers: list[int]) -> st.SearchStrategy[tuple[str, int, int]]:
    return st.tuples(
        st.sampled_from(["Adds", "Adds", "Adds", "Fails"]), st.sampled_from(numbers), st.integers(0, 5)
    )


def actions(numbers: list[int]) -> st.SearchStrategy[list[tuple[int, list[tuple[str, int, int]] | None]]]:
    """Of an order: what is appended to it; None: a refresh."""
    batch = st.lists(events(numbers), min_size=1, max_size=4)
    return st.lists(st.tuples(st.integers(0, 1), st.none() | batch), min_size=1, max_size=12)


def replay(connection: Database, projection: Projection[Any]) -> tuple[int, int, int]:
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, projection)
    promoted = promote(connection, projection)
    assert promoted is not None
    return promoted.added, promoted.changed, promoted.gone


def assert_table_is_the_naive_fold(world: World) -> None:
    folds = {order: naive(told) for order, told in world.told().items()}
    assert world.rows() == {order: row for order, (row, _) in folds.items() if row}
    assert world.stopped("tallies") == {order: at for order, (_, at) in folds.items() if at is not None}


SLOW = settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@SLOW
@given(actions([1, 20_000, -20_000]))
def test_the_table_is_the_naive_fold_however_the_events_come_and_after_a_replay(
    database: Database, done: list[tuple[int, list[tuple[str, int, int]] | None]]
) -> None:
    world = World(database)
    for order, told in done:
        if told is None:
            refresh(database, TALLIES)
            assert_table_is_the_naive_fold(world)
        else:
            world.append(order, told)
    refresh(database, TALLIES)
    assert_table_is_the_naive_fold(world)
    assert refresh(database, TALLIES).rows == 0
    assert replay(database, TALLIES) == (0, 0, 0)
    assert_table_is_the_naive_fold(world)


def moments(world: World) -> Iterator[tuple[UUID, list[Told], int, int]]:
    for order, told in world.told().items():
        for known in sorted({event.recorded for event in told}):
            for at in sorted({event.at for event in told} | {-1, 6}):
                yield order, told, at, known


def assert_history_is_the_naive_fold(world: World) -> None:
    for order, told, at, known in moments(world):
        expected, _ = naive([event for event in told if event.recorded <= known], at)
        assert world.as_of(order, at, known) == ([expected] if expected else []), (at, known, told)
    folds = {order: naive(told)[1] for order, told in world.told().items()}
    assert world.stopped("tally_history") == {order: at for order, at in folds.items() if at is not None}


@SLOW
@given(actions([1, 2, 20_000]))
def test_the_history_answers_every_pair_of_moments_as_the_naive_fold_does(
    database: Database, done: list[tuple[int, list[tuple[str, int, int]] | None]]
) -> None:
    world = World(database)
    for order, told in done:
        if told is None:
            refresh(database, TALLY_HISTORY)
            assert_history_is_the_naive_fold(world)
        else:
            world.append(order, told)
    refresh(database, TALLY_HISTORY)
    refresh(database, TALLIES)
    assert_history_is_the_naive_fold(world)
    assert refresh(database, TALLY_HISTORY).rows == 0
    assert replay(database, TALLY_HISTORY) == (0, 0, 0)
    assert_history_is_the_naive_fold(world)
    assert world.stopped("tally_history") == world.stopped("tallies")
