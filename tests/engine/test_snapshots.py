"""Daily snapshots: what they hold, when they are stale, and what they save a read."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine.snapshots import build as snapshots
from eventstore.engine.state import UnfoldableEventError, UnknownVersionError
from eventstore.kernel.days import CHECKPOINT_EVERY, start_of_day_ms
from eventstore.kernel.recorded import FoldEvent
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import ORDERS
from eventstore.orders.events import OrderShipped
from eventstore.orders.order import OrderState, Rules
from tests.buckets import BUCKETS
from tests.shipped import (
    RULES,
    build_snapshots,
    refresh,
    refresh_customers,
    refresh_daily_metrics,
    refresh_stale,
    replay_bucket,
    stale_days,
    state,
)
from tests.shipped import promote_projection as promote

Database = psycopg.Connection[Any]

MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))


def paid(day: date, hour: int = 12, amount: str = "1.00") -> dict[str, Any]:
    return {
        "type": "OrderPaid",
        "data": {"amount": amount, "currency": "EUR"},
        "created_at": f"{day}T{hour:02d}:00:00Z",
    }


def shipped(day: date, hour: int = 12) -> dict[str, Any]:
    return {"type": "OrderShipped", "data": {}, "created_at": f"{day}T{hour:02d}:00:00Z"}


def snapshot(connection: Database, day: date, order_id: UUID) -> Any:
    return connection.execute(
        "SELECT status, paid_amount, version FROM order_snapshots WHERE day = %s AND order_id = %s",
        (day, order_id),
    ).fetchone()


def test_a_snapshot_is_the_state_at_the_end_of_each_day_on_which_the_order_changed(
    connection: Database,
) -> None:
    order, other = uuid4(), uuid4()
    append_json(connection, order, [paid(MONDAY, 0), paid(MONDAY, 23), shipped(WEDNESDAY)])
    append_json(connection, other, [paid(TUESDAY)])
    built = build_snapshots(connection, MONDAY, WEDNESDAY)
    assert (built.days, built.rows) == ({MONDAY: 1, TUESDAY: 1, WEDNESDAY: 1}, 3)
    assert snapshot(connection, MONDAY, order) == ("Paid", Decimal("2.00"), 2)
    assert snapshot(connection, TUESDAY, order) is None
    assert snapshot(connection, WEDNESDAY, order) == ("Shipped", Decimal("2.00"), 3)
    assert snapshot(connection, TUESDAY, other) == ("Paid", Decimal("1.00"), 1)


def test_a_business_day_ends_with_its_last_millisecond_in_utc(connection: Database) -> None:
    order = uuid4()
    for at in ("2026-03-02T23:59:59.999Z", "2026-03-03T00:00:00+02:00", "2026-03-03T00:00:00Z"):
        append_json(connection, order, [paid(MONDAY) | {"created_at": at}])
    build_snapshots(connection, MONDAY, TUESDAY)
    assert snapshot(connection, MONDAY, order) == ("Paid", Decimal("2.00"), 2)
    assert snapshot(connection, TUESDAY, order) == ("Paid", Decimal("3.00"), 3)


def test_building_a_day_again_changes_nothing(connection: Database) -> None:
    orders = [uuid4() for _ in range(3)]
    for order in orders:
        append_json(connection, order, [paid(MONDAY), paid(TUESDAY)])
    build_snapshots(connection, MONDAY, WEDNESDAY)
    everything = "SELECT * FROM order_snapshots ORDER BY order_id, day"
    before = connection.execute(everything).fetchall()
    assert build_snapshots(connection, TUESDAY, TUESDAY).days == {TUESDAY: 3}
    assert connection.execute(everything).fetchall() == before


def test_readers_see_the_old_days_until_all_of_the_new_ones_stand(
    connection: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY)])
    build_snapshots(connection, MONDAY, MONDAY)
    append_json(connection, order, [paid(TUESDAY), paid(WEDNESDAY)])
    seen = []

    def register_days(*arguments: Any) -> None:
        """The last step of a build: its rows are written."""
        seen.append(snapshot(connection, WEDNESDAY, order))
        with psycopg.connect(database_url) as reader:
            seen.append(snapshot(reader, MONDAY, order))
            seen.append(snapshot(reader, WEDNESDAY, order))
        original(*arguments)

    original = snapshots._register_days
    monkeypatch.setattr(snapshots, "_register_days", register_days)
    build_snapshots(connection, MONDAY, WEDNESDAY)
    assert seen == [("Paid", Decimal("3.00"), 3), ("Paid", Decimal("1.00"), 1), None]


def test_a_late_event_makes_its_day_and_the_later_days_of_its_order_stale(connection: Database) -> None:
    order, other = uuid4(), uuid4()
    append_json(connection, order, [paid(MONDAY), shipped(WEDNESDAY)])
    append_json(connection, other, [paid(TUESDAY)])
    build_snapshots(connection, MONDAY, WEDNESDAY)
    assert stale_days(connection) == []
    append_json(connection, order, [paid(TUESDAY, amount="5.00")])
    assert stale_days(connection) == [TUESDAY, WEDNESDAY]
    refreshed = refresh_stale(connection)
    assert (refreshed.orders, refreshed.rows) == (1, 2)
    assert stale_days(connection) == []
    assert snapshot(connection, TUESDAY, order) == ("Paid", Decimal("6.00"), 3)
    assert snapshot(connection, WEDNESDAY, order) == ("Shipped", Decimal("6.00"), 3)
    assert snapshot(connection, MONDAY, order) == ("Paid", Decimal("1.00"), 1)


def test_a_late_event_on_a_day_that_was_not_built_corrects_the_built_days_after_it(
    connection: Database,
) -> None:
    order = uuid4()
    append_json(connection, order, [shipped(WEDNESDAY)])
    build_snapshots(connection, WEDNESDAY, WEDNESDAY)
    append_json(connection, order, [paid(MONDAY)])
    refresh_stale(connection)
    assert snapshot(connection, WEDNESDAY, order) == ("Shipped", Decimal("1.00"), 2)
    assert snapshot(connection, MONDAY, order) is None


def test_a_checkpoint_of_other_rules_is_passed_over(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY, hour) for hour in range(15) for _ in range(10)])
    refresh_stale(connection)
    changed = connection.execute("UPDATE order_checkpoints SET fold_version = 'others', paid_amount = 999")
    assert changed.rowcount == 1
    found = state(connection, order)
    assert found is not None
    assert found.paid_amount == Decimal("150.00")


def test_an_event_after_the_last_built_day_makes_nothing_stale(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY)])
    build_snapshots(connection, MONDAY, MONDAY)
    append_json(connection, order, [paid(TUESDAY)])
    assert stale_days(connection) == []
    refreshed = refresh_stale(connection)
    assert (refreshed.orders, refreshed.rows) == (0, 0)


def test_an_open_append_is_taken_in_once_it_commits(connection: Database, database_url: str) -> None:
    slow, fast = uuid4(), uuid4()
    with psycopg.connect(database_url, autocommit=True) as writer, writer.transaction():
        append_json(writer, slow, [paid(MONDAY)])
        append_json(connection, fast, [paid(MONDAY)])
        assert build_snapshots(connection, MONDAY, MONDAY).days == {MONDAY: 0}
    assert stale_days(connection) == [MONDAY]
    refresh_stale(connection)
    assert (
        snapshot(connection, MONDAY, slow)
        == snapshot(connection, MONDAY, fast)
        == ("Paid", Decimal("1.00"), 1)
    )


def test_the_days_must_come_in_order(connection: Database) -> None:
    with pytest.raises(ValueError, match="2026-03-02, lies before the first, 2026-03-03"):
        build_snapshots(connection, TUESDAY, MONDAY)


class CountingRules:
    """Rules that count the events they fold; those of ``poison`` they fail on."""

    def __init__(self, rules: Rules = RULES) -> None:
        self._rules = rules
        self.version = rules.version
        self.knows = rules.knows
        self.folded = 0
        self.poison: set[str] = set()

    def apply(self, order: OrderState, event: FoldEvent, at: datetime) -> None:
        if event.event_type in self.poison:
            raise ZeroDivisionError("poison")
        self.folded += 1
        self._rules.apply(order, event, at)

    def folds_for(self, question: Callable[[], Any]) -> int:
        before = self.folded
        question()
        return self.folded - before


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> CountingRules:
    """What state() and the snapshots fold by in this test."""
    counting = CountingRules()
    monkeypatch.setattr("tests.shipped.ORDERS", replace(ORDERS, foldings=(counting,)))
    return counting


N = 2_500


@pytest.mark.parametrize("spread", ["one day", "a thousand days"])
def test_a_long_stream_is_folded_from_the_nearest_kept_state(
    connection: Database, rules: CountingRules, spread: str
) -> None:
    step = timedelta(seconds=30) if spread == "one day" else timedelta(hours=10)
    first = datetime(2023, 1, 1, tzinfo=UTC)
    order = uuid4()
    batch = [paid(MONDAY) | {"created_at": str(first + n * step)} for n in range(N)]
    recorded = list(append_json(connection, order, batch[: N // 2]))
    connection.execute("SELECT pg_sleep(0.002)")  # the second half is recorded in another millisecond
    recorded += append_json(connection, order, batch[N // 2 :])

    def questions() -> Iterator[tuple[Callable[[], OrderState | None], int]]:
        """Each with the number of payments that the answer must hold."""
        yield lambda: state(connection, order), N
        for n in (1, 99, 100, 101, 1_249, 1_777, N - 1):
            yield lambda n=n: state(connection, order, at=first + n * step), n + 1  # type: ignore[misc]
            yield lambda n=n: state(connection, order, version=n), n  # type: ignore[misc]
        yield lambda: state(connection, order, known=recorded[0].recorded_at), N // 2
        yield lambda: state(connection, order, at=first + 900 * step, known=recorded[0].recorded_at), 901

    for question, payments in questions():
        found = question()
        assert found is not None
        assert found.paid_amount == payments
        assert rules.folds_for(question) == payments  # from the first event on

    build_snapshots(connection, first.date(), (first + N * step).date())
    for question, payments in questions():
        found = question()
        assert found is not None
        assert found.paid_amount == payments
        assert rules.folds_for(question) <= CHECKPOINT_EVERY


@pytest.mark.parametrize("was_empty", [True, False])
def test_the_state_of_an_order_is_found_without_those_of_others_whatever_the_statistics_say(
    connection: Database, was_empty: bool
) -> None:
    connection.execute("ALTER TABLE order_snapshots SET (autovacuum_enabled = off)")
    fill = """
        INSERT INTO order_snapshots (day, until_at, until_version, events, order_id, status, paid_amount,
                                     refunded_amount, version, last_event_id, last_event_at, anomalies,
                                     unknown_events, fold_version)
        SELECT day, (day - date '1970-01-01' + 1) * 86400000::bigint - 1, 0, v, order_id, 'Paid', 0, 0, v,
               order_id, day, '{}', '{}', 'rules'
          FROM (SELECT date '2026-03-02' AS day, 1 AS v, md5(n::text)::uuid AS order_id
                  FROM generate_series(1, 50000) n
                UNION ALL SELECT date '2016-01-01' + n, n + 1, %(long)s FROM generate_series(0, 3999) n) rows
    """
    long, short = UUID(int=1 << 127), UUID(hashlib.md5(b"777", usedforsecurity=False).hexdigest())
    if was_empty:
        connection.execute("ANALYZE order_snapshots")
    else:
        connection.execute(fill, {"long": long})
        connection.execute("DELETE FROM order_snapshots")
        connection.execute("ANALYZE order_snapshots")
    connection.execute(fill, {"long": long})
    connection.execute("CREATE TEMPORARY TABLE asked (order_id uuid PRIMARY KEY, at bigint)")
    for day, found in ((date(2019, 1, 1), 1), (date(2027, 1, 1), 2)):
        at = start_of_day_ms(day)
        connection.execute("TRUNCATE asked")
        connection.execute("INSERT INTO asked VALUES (%s, %s), (%s, %s)", (long, at, short, at))
        ((explained,),) = connection.execute(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT FROM asked, "
            "LATERAL latest_snapshot(order_id, at, 0, 5000, 'rules')"
        ).fetchall()
        plan = explained[0]["Plan"]
        assert plan["Actual Rows"] == found
        # Of an order with thousands of snapshots all may be read, where PostgreSQL takes them for few.
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200


def test_without_built_days_a_refresh_keeps_states_of_long_streams_only(
    connection: Database, rules: CountingRules
) -> None:
    long, short = uuid4(), uuid4()
    append_json(connection, long, [paid(MONDAY)] * (3 * CHECKPOINT_EVERY))
    append_json(connection, short, [paid(MONDAY)] * (CHECKPOINT_EVERY - 1))
    refresh_stale(connection)
    assert connection.execute(
        "SELECT order_id, count(*) FROM order_checkpoints GROUP BY order_id"
    ).fetchall() == [(long, 3)]
    assert connection.execute("SELECT count(*) FROM order_snapshots").fetchone() == (0,)
    assert rules.folds_for(lambda: state(connection, long)) == 0
    append_json(connection, long, [shipped(MONDAY)] * 5)
    assert rules.folds_for(lambda: state(connection, long)) == 5


def test_a_late_event_in_a_long_stream_replaces_the_checkpoints_after_it(
    connection: Database, rules: CountingRules
) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY, hour) for hour in range(20) for _ in range(15)])
    refresh_stale(connection)
    append_json(connection, order, [shipped(MONDAY, hour=10)])
    assert refresh_stale(connection).orders == 1
    found = state(connection, order)
    assert found is not None
    assert (found.status, found.paid_amount) == ("Shipped", Decimal("300.00"))
    kept = connection.execute(
        "SELECT events, status FROM order_checkpoints WHERE order_id = %s ORDER BY events", (order,)
    ).fetchall()
    assert kept == [(100, "Paid"), (200, "Shipped"), (300, "Shipped")]


def test_a_read_passes_a_stale_snapshot_over(connection: Database, rules: CountingRules) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY), paid(TUESDAY), paid(WEDNESDAY)])
    build_snapshots(connection, MONDAY, WEDNESDAY)
    assert rules.folds_for(lambda: state(connection, order)) == 0
    for end_of_monday in (datetime(2026, 3, 2, 23, 59, 59, 999_000), datetime(2026, 3, 3, 11)):
        assert rules.folds_for(lambda at=end_of_monday: state(connection, order, at=at)) == 0  # type: ignore[misc]
    append_json(connection, order, [shipped(TUESDAY, hour=1)])
    assert rules.folds_for(lambda: state(connection, order)) == 3  # from Monday's, which is still good
    found = state(connection, order)
    assert found is not None
    assert (found.status, found.anomalies) == (
        "Shipped",
        ("paid_before_created", "shipped_before_created", "paid_twice"),
    )


def test_a_question_about_the_past_uses_no_snapshot_that_knows_more(
    connection: Database, rules: CountingRules
) -> None:
    order = uuid4()
    (before,) = append_json(connection, order, [paid(MONDAY)])
    connection.execute("SELECT pg_sleep(0.002)")
    append_json(connection, order, [shipped(MONDAY)])
    build_snapshots(connection, MONDAY, MONDAY)
    found = state(connection, order, known=before.recorded_at)
    assert found is not None
    assert (found.status, found.version) == ("Paid", 1)
    assert rules.folds_for(lambda: state(connection, order, known=before.recorded_at)) == 1
    assert rules.folds_for(lambda: state(connection, order)) == 0


def test_promoted_rules_make_every_snapshot_stale_and_no_answer_mixes_rules(
    connection: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_odd(_: OrderState) -> str:
        return "Odd"

    orders = replace(ORDERS, foldings=(RULES, replace(RULES, version="newer", status=always_odd)))
    monkeypatch.setattr("tests.shipped.ORDERS", orders)
    order = uuid4()
    append_json(connection, order, [paid(MONDAY)] * CHECKPOINT_EVERY + [paid(TUESDAY)])
    refresh(connection, orders)
    registered = connection.execute(
        "UPDATE projections SET fold_version = %s RETURNING name", (RULES.version,)
    ).fetchall()
    assert registered == [("orders",)]
    build_snapshots(connection, MONDAY, WEDNESDAY)
    assert stale_days(connection) == []
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, orders)
    assert snapshot(connection, TUESDAY, order) == ("Paid", Decimal("101.00"), 101)
    assert promote(connection, orders) is not None
    assert stale_days(connection) == [MONDAY, TUESDAY, WEDNESDAY]
    found = state(connection, order)
    assert found is not None
    assert (found.status, found.paid_amount) == ("Odd", Decimal("101.00"))
    refresh_stale(connection)
    assert stale_days(connection) == []
    assert snapshot(connection, MONDAY, order) == ("Odd", Decimal("100.00"), 100)
    assert snapshot(connection, TUESDAY, order) == ("Odd", Decimal("101.00"), 101)
    assert connection.execute("SELECT DISTINCT fold_version FROM order_checkpoints").fetchall() == [
        ("newer",)
    ]


def test_an_event_that_the_rules_fail_on_stops_only_its_order(
    connection: Database, rules: CountingRules
) -> None:
    bad, good = uuid4(), uuid4()
    rules.poison = {"OrderShipped"}
    append_json(connection, bad, [paid(MONDAY), shipped(TUESDAY), paid(WEDNESDAY)])
    append_json(connection, good, [paid(WEDNESDAY)])
    assert build_snapshots(connection, MONDAY, WEDNESDAY).days == {MONDAY: 1, TUESDAY: 0, WEDNESDAY: 1}
    assert connection.execute("SELECT projection, order_id, error FROM quarantine").fetchall() == [
        ("order_snapshots", bad, "version 2, OrderShipped: ZeroDivisionError: poison")
    ]
    before = state(connection, bad, at=datetime(2026, 3, 2, 13))
    assert before is not None
    assert before.status == "Paid"
    with pytest.raises(
        UnfoldableEventError, match=f"version 2 of order {bad}, OrderShipped: ZeroDivisionError"
    ):
        state(connection, bad)
    rules.poison = set()
    refresh_stale(connection)
    assert snapshot(connection, WEDNESDAY, bad) == ("Shipped", Decimal("2.00"), 3)
    assert connection.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)


def test_an_order_stays_in_quarantine_when_a_day_before_the_event_that_fails_is_built_again(
    connection: Database, rules: CountingRules
) -> None:
    order = uuid4()
    rules.poison = {"OrderShipped"}
    append_json(connection, order, [paid(MONDAY), shipped(TUESDAY)])
    build_snapshots(connection, MONDAY, TUESDAY)
    build_snapshots(connection, MONDAY, MONDAY)
    assert connection.execute("SELECT order_id FROM quarantine").fetchall() == [(order,)]
    rules.poison = set()
    refresh_stale(connection)
    assert snapshot(connection, TUESDAY, order) == ("Shipped", Decimal("1.00"), 2)


def test_events_of_a_type_that_is_learned_later_are_folded_into_the_snapshots(
    connection: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignorant = replace(
        RULES, rules={kind: rule for kind, rule in RULES.rules.items() if kind is not OrderShipped}
    )
    monkeypatch.setattr("tests.shipped.ORDERS", replace(ORDERS, foldings=(ignorant,)))
    order = uuid4()
    append_json(connection, order, [paid(MONDAY), shipped(MONDAY), paid(TUESDAY)])
    build_snapshots(connection, MONDAY, TUESDAY)
    assert snapshot(connection, TUESDAY, order) == ("Paid", Decimal("2.00"), 3)
    monkeypatch.setattr("tests.shipped.ORDERS", ORDERS)
    found = state(connection, order)
    assert found is not None
    assert (found.status, found.unknown_events) == ("Shipped", ())
    refresh_stale(connection)
    assert snapshot(connection, MONDAY, order) == ("Shipped", Decimal("1.00"), 2)
    assert snapshot(connection, TUESDAY, order) == ("Shipped", Decimal("2.00"), 3)


def test_events_of_a_type_that_is_learned_later_are_folded_into_the_checkpoints(
    connection: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignorant = replace(
        RULES, rules={kind: rule for kind, rule in RULES.rules.items() if kind is not OrderShipped}
    )
    monkeypatch.setattr("tests.shipped.ORDERS", replace(ORDERS, foldings=(ignorant,)))
    append_json(connection, uuid4(), [shipped(MONDAY), *[paid(MONDAY)] * CHECKPOINT_EVERY])
    refresh_stale(connection)
    kept = "SELECT status, unknown_events FROM order_checkpoints"
    assert connection.execute(kept).fetchall() == [("Paid", ["OrderShipped"])]
    monkeypatch.setattr("tests.shipped.ORDERS", ORDERS)
    refresh_stale(connection)
    assert connection.execute(kept).fetchall() == [("Shipped", [])]


def test_a_version_that_the_order_does_not_have_is_refused(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY), paid(TUESDAY)])
    for version in (0, 3, -1):
        with pytest.raises(UnknownVersionError, match=f"no version {version}: its versions are 1 to 2"):
            state(connection, order, version=version)
    with pytest.raises(UnknownVersionError, match="no version 1: it has no events"):
        state(connection, uuid4(), version=1)


def test_an_order_without_events_at_the_moment_has_no_state(connection: Database) -> None:
    order = uuid4()
    (first,) = append_json(connection, order, [paid(MONDAY)])
    assert state(connection, uuid4()) is None
    assert state(connection, order, at=datetime(2026, 3, 2, 11, 59)) is None
    assert state(connection, order, known=first.recorded_at - timedelta(milliseconds=1)) is None
    assert state(connection, order, at=datetime(2026, 3, 2, 12)) is not None


def test_times_without_a_zone_are_utc(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY, 12), shipped(MONDAY, 14)])
    for at in (datetime(2026, 3, 2, 13), datetime.fromisoformat("2026-03-02T15:30:00+02:00")):
        found = state(connection, order, at=at)
        assert found is not None
        assert found.status == "Paid"


def test_the_projecting_role_may_build_and_the_reading_role_may_ask(connection: Database) -> None:
    order = uuid4()
    append_json(connection, order, [paid(MONDAY)] * CHECKPOINT_EVERY)
    connection.execute("SET ROLE eventstore_projector")
    build_snapshots(connection, MONDAY, TUESDAY)
    refresh(connection)
    refresh_customers(connection)
    refresh_daily_metrics(connection)
    connection.execute("SET ROLE eventstore_reader")
    found = state(
        connection, order, at=datetime(2026, 3, 3), known=datetime(2100, 1, 1), version=CHECKPOINT_EVERY
    )
    assert found is not None
    assert found.version == CHECKPOINT_EVERY
    assert stale_days(connection) == []
    for source in ("order_snapshots", "customers", "customers_as_of('2026-03-02')", "daily_order_metrics"):
        connection.execute(f"SELECT * FROM {source}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("DELETE FROM order_snapshots")


def test_builds_and_refreshes_at_once_take_turns(connection: Database, database_url: str) -> None:
    orders = [uuid4() for _ in range(20)]
    for order in orders:
        append_json(connection, order, [paid(MONDAY), paid(WEDNESDAY)])

    def build() -> None:
        with open_connection(database_url) as other:
            build_snapshots(other, MONDAY, WEDNESDAY)

    def append_late() -> None:
        with open_connection(database_url) as other:
            for order in orders:
                append_json(other, order, [shipped(TUESDAY)])
                refresh_stale(other)

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(work) for work in (build, append_late, build, append_late)]:
            done.result()
    refresh_stale(connection)
    assert stale_days(connection) == []
    rows = connection.execute(
        "SELECT day, status, version, count(*) FROM order_snapshots GROUP BY 1, 2, 3 ORDER BY 1"
    )
    assert rows.fetchall() == [
        (MONDAY, "Paid", 1, 20),
        (TUESDAY, "Shipped", 4, 20),
        (WEDNESDAY, "Shipped", 4, 20),
    ]
