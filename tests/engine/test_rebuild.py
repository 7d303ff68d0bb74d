"""Every read model anew from the log: whatever it was, whatever ends the rebuild, whoever reads or writes."""

import threading
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine import rebuild as rebuilding
from eventstore.engine.current import current
from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.proofs import proofs_of, read_models
from eventstore.engine.rebuild import InterruptedRebuildError, TableRebuilt, rebuild, unfinished
from eventstore.engine.refresh import refresh
from eventstore.engine.replay import replay_bucket
from eventstore.engine.snapshots.build import build_snapshots
from eventstore.engine.standing import AheadOfLogError, ahead_of_log, standing
from eventstore.engine.state import state
from eventstore.kernel.days import CHECKPOINT_EVERY
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.log.errors import BusyError
from eventstore.orders.domain import DOMAIN
from tests.killing import kill_when_it_waits_for_a_lock
from tests.seals.tampering import LOG, altering

Connection = psycopg.Connection[Any]
ORDERS = [UUID(int=number << 64) for number in range(1, 7)]
DAYS = (date(2026, 3, 2), date(2026, 3, 4))
TABLES = ("orders", "order_history", "order_snapshots")
DERIVED = ("customers", "daily_order_metrics", "daily_payments", "order_counts")
READ_MODELS = read_models(DOMAIN)


def event(kind: str, day: int, **data: str) -> dict[str, Any]:
    return {"type": kind, "data": data, "created_at": f"2026-03-{day:02d}T12:00:00Z"}


CREATED = event("OrderCreated", 2, customer_id=str(UUID(int=7)), amount="10.00", currency="EUR")
PAID = event("OrderPaid", 3, amount="10.00", currency="EUR")
SHIPPED = event("OrderShipped", 4)


@pytest.fixture
def shop(connection: Connection) -> Connection:
    """All read models, of orders with late events."""
    for order in ORDERS:
        append_json(connection, order, [CREATED, SHIPPED, PAID])
    append_json(connection, ORDERS[0], [SHIPPED] * CHECKPOINT_EVERY)
    build_snapshots(connection, DOMAIN.states, *DAYS)
    refresh_all(connection)
    return connection


def refresh_all(connection: Connection) -> None:
    for projection in DOMAIN.projections:
        refresh(connection, projection)
    refresh_made_from(connection, DOMAIN, DOMAIN.projections)


def rows(connection: Connection) -> dict[str, list[Any]]:
    """All that the read models say."""
    found = {}
    for table in (*TABLES, *DERIVED):
        answer = connection.execute(f"SELECT to_jsonb(t) FROM {table} t").fetchall()
        found[table] = sorted((row for (row,) in answer), key=str)
    return found


def everything_holds(connection: Connection) -> bool:
    return not any(proof.prove(connection, None, 10_000).findings for proof in proofs_of(DOMAIN))


def spoil(connection: Connection) -> None:
    """Everything says something else, rows are gone, and one is too many."""
    connection.execute("UPDATE orders SET status = 'Lost'")
    connection.execute(
        "INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object('order_id', %s::text))).* "
        "FROM orders o LIMIT 1",
        (str(UUID(int=1)),),
    )
    connection.execute("UPDATE order_history SET paid_amount = 77 WHERE order_id = %s", (ORDERS[1],))
    connection.execute("DELETE FROM order_history WHERE order_id = %s", (ORDERS[2],))
    connection.execute("UPDATE order_snapshots SET version = 77")
    connection.execute("DELETE FROM order_snapshots WHERE order_id = %s", (ORDERS[3],))
    connection.execute("UPDATE order_checkpoints SET amount = 77")
    connection.execute("SET eventstore.refreshing = 'on'")  # the guards of derived tables see no stranger
    connection.execute("UPDATE customers SET orders = 77")
    connection.execute("DELETE FROM daily_order_metrics")
    connection.execute("UPDATE daily_payments SET revenue = 77")
    connection.execute("RESET eventstore.refreshing")


def test_whatever_the_tables_said_they_say_what_the_log_does(shop: Connection) -> None:
    right = rows(shop)
    spoil(shop)
    shop.execute("DELETE FROM projections WHERE name = 'order_history'")
    shop.execute("UPDATE projections SET watermark = uuidv7_at(clock_ms() + 31536000000, 0)")
    replay_bucket(shop, 3, DOMAIN.history, for_preview=True)  # of somebody who wanted a preview
    assert not everything_holds(shop)
    done = rebuild(shop, DOMAIN)
    assert rows(shop) == right
    assert everything_holds(shop)
    assert (done.went_on, list(done.tables)) == (False, READ_MODELS)
    assert (done.tables["orders"].gone, done.tables["orders"].changed) == (1, len(ORDERS))
    assert unfinished(shop, DOMAIN) is None
    newest = shop.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    assert newest is not None
    for name in READ_MODELS:
        found = standing(shop, name)
        assert found is not None
        assert (name, found.watermark) == (name, newest[0])


class Stopped(BaseException):
    """The process is gone."""


def stop_after(statements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many statements no other one is executed: to the database that is a kill -9."""
    left = statements
    execute = psycopg.Connection.execute

    def counted(self: Any, *given: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped
        return execute(self, *given, **options)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)


def test_killed_between_any_two_statements_it_goes_on_and_no_reader_sees_half_a_table(
    shop: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = rows(shop)
    spoil(shop)
    wrong = rows(shop)
    made: list[set[str]] = [set()]
    for run in range(200):
        with monkeypatch.context() as patched, open_connection(database_url) as victim:
            stop_after(130 + run, patched)
            try:
                done = rebuild(victim, DOMAIN)
            except Stopped:
                victim.close()
            else:
                break
        now = rows(shop)
        for table in TABLES:
            assert now[table] in (wrong[table], right[table])
        made.append({table for table in TABLES if now[table] == right[table]})
        assert made[-2] <= made[-1]  # what took its place stays
    assert rows(shop) == right
    assert everything_holds(shop)
    assert done.went_on
    assert {"orders"} in made  # it was stopped between two tables too


def test_after_kill_9_the_next_run_goes_on_where_it_was(shop: Connection, database_url: str) -> None:
    right = rows(shop)
    spoil(shop)
    script = (
        "import sys; from eventstore.engine.rebuild import rebuild;"
        "from eventstore.log.connection import open_connection; from eventstore.orders.domain import DOMAIN;"
        "rebuild(open_connection(sys.argv[1], application_name='victim'), DOMAIN)"
    )
    kill_when_it_waits_for_a_lock(script, database_url, shop, "order_history")
    before = unfinished(shop, DOMAIN)
    assert before is not None
    assert before.left[0] == "order_history"  # whose buckets all stand
    replayed: set[str] = set()

    def counting(projection: Any, folding: Any, buckets: Iterable[int], _: Any) -> Iterator[Any]:
        for bucket in buckets:
            replayed.add(projection.name)
            yield replay_bucket(shop, bucket, projection, folding=folding)

    done = rebuild(shop, DOMAIN, replay=counting)
    assert rows(shop) == right
    assert (done.went_on, done.began_at, list(done.tables)) == (True, before.began_at, before.left)
    assert replayed == {projection.name for projection in DOMAIN.others}  # their turn had not come


def test_it_begins_anew_where_it_is_told_to_and_after_a_restore(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make(connection: Any, _: Any, name: str, *__: Any) -> TableRebuilt:
        made.append(name)
        if len(made) == 3:
            raise Stopped
        connection.execute("UPDATE rebuild_steps SET done_at = now() WHERE read_model = %s", (name,))
        return TableRebuilt(seconds=0)

    def stopped_at_the_third() -> None:
        made.clear()
        with pytest.raises(Stopped):
            rebuild(connection, DOMAIN)

    monkeypatch.setattr(rebuilding, "_rebuild_one", make)
    stopped_at_the_third()
    assert (rebuild(connection, DOMAIN).went_on, made) == (True, [*READ_MODELS[:3], *READ_MODELS[2:]])
    stopped_at_the_third()
    assert not rebuild(connection, DOMAIN, anew=True).went_on
    assert made == [*READ_MODELS[:3], *READ_MODELS]
    stopped_at_the_third()
    connection.execute("SELECT begin_epoch('restore', 'a test')")
    assert not rebuild(connection, DOMAIN).went_on
    assert made == [*READ_MODELS[:3], *READ_MODELS]


def test_one_runs_at_a_time_and_a_replay_of_somebody_else_is_told(
    connection: Connection, database_url: str
) -> None:
    def somebody_else(*_: Any) -> Iterator[Any]:
        running = pytest.raises(BusyError, match="another rebuild is running")
        with open_connection(database_url) as other, running:
            rebuild(other, DOMAIN)
        return iter(())

    for _ in range(2):  # and the lock is free again
        with pytest.raises(InterruptedRebuildError, match="another replay of orders"):
            rebuild(connection, DOMAIN, replay=somebody_else)


def test_writers_lose_nothing_to_a_rebuild(shop: Connection, database_url: str) -> None:
    stop = threading.Event()

    def write() -> None:
        with open_connection(database_url) as connection:
            while not stop.is_set():
                append_json(connection, ORDERS[1], [PAID])
                append_json(connection, uuid4(), [CREATED])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        spoil(shop)
        rebuild(shop, DOMAIN)
    finally:
        stop.set()
        writer.join()
    refresh_all(shop)
    assert everything_holds(shop)
    assert shop.execute(
        "SELECT (SELECT sum(version) FROM orders) = (SELECT count(*) FROM order_events)"
    ).fetchone() == (True,)


def cut(connection: Connection) -> None:
    """The last events are taken away, as a restore of the log alone does."""
    with altering(connection, *LOG):
        connection.execute("DELETE FROM order_events WHERE order_id = %s AND version > 2", (ORDERS[0],))
        connection.execute("DELETE FROM order_events WHERE order_id = %s", (ORDERS[1],))


def test_what_is_ahead_of_the_log_is_marked_and_nothing_is_folded_onto_it_until_a_rebuild(
    shop: Connection,
) -> None:
    assert ahead_of_log(shop) == []
    cut(shop)
    assert ahead_of_log(shop) == sorted(READ_MODELS)
    append_json(shop, ORDERS[0], [PAID])  # a version that the rows hold already
    for projection in DOMAIN.projections:
        with pytest.raises(AheadOfLogError, match=f"{projection.name} is ahead .* `eventstore rebuild`"):
            refresh(shop, projection)
    with pytest.raises(AheadOfLogError, match="order_snapshots is ahead"):
        build_snapshots(shop, DOMAIN.states, *DAYS)
    assert ahead_of_log(shop) == sorted(READ_MODELS)
    rebuild(shop, DOMAIN)
    assert ahead_of_log(shop) == []
    versions = dict(shop.execute("SELECT order_id, version FROM orders").fetchall())
    assert (versions[ORDERS[0]], ORDERS[1] in versions) == (3, False)
    refresh_all(shop)
    assert everything_holds(shop)


def test_answers_about_an_order_are_those_of_the_log_even_so(shop: Connection) -> None:
    cut(shop)
    append_json(shop, ORDERS[0], [PAID])
    for answer in (current(shop, DOMAIN.states, ORDERS[0]), state(shop, DOMAIN.states, ORDERS[0])):
        assert answer is not None
        assert (answer.version, str(answer.paid_amount)) == (3, "10.00")
    assert current(shop, DOMAIN.states, ORDERS[1]) is None
    assert state(shop, DOMAIN.states, ORDERS[1]) is None
