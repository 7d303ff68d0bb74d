"""Every read model anew from the log: whatever it was, whatever ends the rebuild, whoever reads or writes."""

import threading
from collections.abc import Callable
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine import rebuild as rebuilding
from eventstore.engine.change import change_of
from eventstore.engine.current import current
from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.rebuild import InterruptedRebuildError, rebuild, unfinished
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
TABLES = ("orders", "order_history", "order_snapshots", "order_checkpoints")
DERIVED = ("customers", "daily_order_metrics", "daily_payments", "order_counts")


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
    """All that the read models say, without by which rules: none of them is marked after a rebuild."""
    found = {}
    for table in (*TABLES, *DERIVED):
        answer = connection.execute(f"SELECT to_jsonb(t) - 'fold_version' FROM {table} t ORDER BY t::text")
        found[table] = sorted((row for (row,) in answer), key=str)
    return found


def spoil(connection: Connection) -> None:
    """Everything says something else, rows are gone, and one is too many."""
    connection.execute("UPDATE orders SET status = 'Lost'")
    connection.execute(
        'INSERT INTO orders SELECT (jsonb_populate_record(o, \'{"order_id": "%s"}\')).* '
        "FROM orders o LIMIT 1" % UUID(int=1)
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
    assert rows(shop) != right
    done = rebuild(shop, DOMAIN)
    assert rows(shop) == right
    assert (done.went_on, list(done.tables)) == (False, rebuilding.read_models(DOMAIN))
    assert (done.tables["orders"].gone, done.tables["orders"].changed) == (1, len(ORDERS))
    assert unfinished(shop) is None


def test_a_table_without_a_watermark_or_with_one_of_next_year_gets_the_right_one(shop: Connection) -> None:
    right = rows(shop)
    shop.execute("DELETE FROM projections WHERE name = 'order_history'")
    shop.execute(
        "UPDATE projections SET watermark = uuidv7_at(clock_ms() + 31536000000, 0) WHERE name <> 'order_history'"
    )
    rebuild(shop, DOMAIN)
    assert rows(shop) == right
    append_json(shop, ORDERS[0], [PAID])
    refresh_all(shop)
    newest = shop.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    assert newest is not None
    for name in rebuilding.read_models(DOMAIN):
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
    seen: list[set[str]] = [set()]
    for run in range(1, 200):
        with monkeypatch.context() as patched, open_connection(database_url) as victim:
            stop_after(60 + run, patched)
            try:
                done = rebuild(victim, DOMAIN)
            except Stopped:
                victim.close()
            else:
                break
        now = rows(shop)
        for table in TABLES[:3]:  # one of them is two tables
            assert now[table] in (wrong[table], right[table])
        seen.append({table for table in TABLES[:3] if now[table] == right[table]})
        assert seen[-2] <= seen[-1]  # what was done stays done
    assert rows(shop) == right
    assert done.went_on
    assert len(seen) > 5
    assert {"orders"} in seen  # it was stopped between two tables too


@pytest.mark.parametrize("table", ["order_history_candidate_05", "order_snapshots"])
def test_after_kill_9_the_next_run_goes_on_where_it_was(
    shop: Connection, database_url: str, table: str
) -> None:
    right = rows(shop)
    spoil(shop)
    script = (
        "import sys; from eventstore.engine.rebuild import rebuild;"
        "from eventstore.log.connection import open_connection; from eventstore.orders.domain import DOMAIN;"
        "rebuild(open_connection(sys.argv[1], application_name='victim'), DOMAIN)"
    )
    kill_when_it_waits_for_a_lock(script, database_url, shop, table)
    before = unfinished(shop)
    assert before is not None
    assert "orders" not in before.left
    replayed: list[tuple[str, int]] = []

    def counting(connection: Any, projection: Any, folding: Any, buckets: list[int], progress: Any) -> None:
        replayed.extend((projection.name, bucket) for bucket in buckets)
        rebuilding.one_after_the_other(connection, projection, folding, buckets, progress)

    done = rebuild(shop, DOMAIN, replay_buckets=counting)
    assert rows(shop) == right
    assert (done.went_on, done.began_at, list(done.tables)) == (True, before.began_at, before.left)
    expected = range(5, 16) if table != "order_snapshots" else []
    assert replayed == [("order_history", bucket) for bucket in expected]


def test_it_begins_anew_where_it_is_told_to_and_after_a_restore(
    shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_unfinished() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(rebuilding, "rebuild_snapshots", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                rebuild(shop, DOMAIN)

    left_unfinished()
    assert rebuild(shop, DOMAIN).went_on
    left_unfinished()
    assert not rebuild(shop, DOMAIN, anew=True).went_on
    left_unfinished()
    shop.execute("SELECT begin_epoch('restore', 'a test')")
    assert not rebuild(shop, DOMAIN).went_on


def test_one_runs_at_a_time_and_a_replay_of_somebody_else_is_told(
    shop: Connection, database_url: str
) -> None:
    def somebody_else(
        connection: Any, projection: Any, folding: Any, buckets: list[int], progress: Any
    ) -> None:
        with (
            open_connection(database_url) as other,
            pytest.raises(BusyError, match="another rebuild is running"),
        ):
            rebuild(other, DOMAIN)
        rebuilding.one_after_the_other(connection, projection, folding, buckets, progress)
        shop.execute("DELETE FROM replay_buckets")

    with open_connection(database_url) as mine:
        with pytest.raises(InterruptedRebuildError, match="another replay of orders"):
            rebuild(mine, DOMAIN, replay_buckets=somebody_else)
        assert rebuild(mine, DOMAIN).went_on  # and the lock is free again


def test_a_rebuild_changes_no_rules_and_throws_a_waiting_replay_away(shop: Connection) -> None:
    shop.execute("UPDATE projections SET fold_version = 'of before' WHERE name = 'orders'")
    replay_bucket(shop, 3, DOMAIN.history, held=True)
    rebuild(shop, DOMAIN)
    assert not any(table.candidate.buckets for table in change_of(shop, DOMAIN.projections).tables)


def test_writers_lose_nothing_to_a_rebuild(shop: Connection, database_url: str) -> None:
    stop = threading.Event()

    def write() -> None:
        with open_connection(database_url) as connection:
            while not stop.is_set():
                append_json(connection, ORDERS[1], [PAID])
                append_json(connection, uuid4(), [CREATED])

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        spoil(shop)
        rebuild(shop, DOMAIN)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    refresh_all(shop)
    found = rows(shop)
    rebuild(shop, DOMAIN, anew=True)
    assert rows(shop) == found
    held, events = shop.execute(
        "SELECT (SELECT sum(version) FROM orders), (SELECT count(*) FROM order_events)"
    ).fetchone() or (0, 1)
    assert held == events


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
    everything = sorted(rebuilding.read_models(DOMAIN))
    assert ahead_of_log(shop) == everything
    append_json(shop, ORDERS[0], [PAID])  # a version that the rows hold already
    for projection in DOMAIN.projections:
        with pytest.raises(AheadOfLogError, match=f"{projection.name} is ahead .* `eventstore rebuild`"):
            refresh(shop, projection)
    with pytest.raises(AheadOfLogError, match="order_snapshots is ahead"):
        build_snapshots(shop, DOMAIN.states, *DAYS)
    assert ahead_of_log(shop) == everything
    rebuild(shop, DOMAIN)
    assert ahead_of_log(shop) == []
    versions = dict(shop.execute("SELECT order_id, version FROM orders").fetchall())
    assert (versions[ORDERS[0]], ORDERS[1] in versions) == (3, False)
    refresh_all(shop)


def test_answers_about_an_order_are_those_of_the_log_even_so(shop: Connection) -> None:
    cut(shop)
    append_json(shop, ORDERS[0], [PAID])
    for answer in (current(shop, DOMAIN.states, ORDERS[0]), state(shop, DOMAIN.states, ORDERS[0])):
        assert answer is not None
        assert (answer.version, str(answer.paid_amount)) == (3, "10.00")
    assert current(shop, DOMAIN.states, ORDERS[1]) is None
    assert state(shop, DOMAIN.states, ORDERS[1]) is None


def test_a_promotion_leaves_a_watermark_that_tells_whether_the_log_is_whole(
    shop: Connection, promoted: Callable[[], None]
) -> None:
    promoted()
    newest = shop.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    assert newest is not None
    found = standing(shop, "orders")
    assert found is not None
    assert found.watermark == newest[0]


@pytest.fixture
def promoted(shop: Connection) -> Callable[[], None]:
    def promote_it() -> None:
        for bucket in range(16):
            replay_bucket(shop, bucket, DOMAIN.states)
        assert rebuilding.promote(shop, DOMAIN.states) is not None

    return promote_it
