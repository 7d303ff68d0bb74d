"""What the log holds and this code cannot read stops its order only, whoever reads, and all say which."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import eventstore
from eventstore import UndecodableEvent, UnfoldableEventError
from eventstore.engine import quarantine
from eventstore.engine.projection import Projection
from eventstore.engine.quarantine import quarantined
from eventstore.engine.reading import FOLD_JSON
from eventstore.face.cloudevents import as_cloudevent
from eventstore.kernel.events import UnknownEvent
from eventstore.log import feed
from eventstore.log.schema import migrate
from eventstore.orders.domain import (
    HISTORY,
    ORDERS,
)
from eventstore.orders.order import OrderState, fold
from tests.buckets import BUCKETS
from tests.log.sessions import end_sessions
from tests.shipped import (
    RULES,
    build_snapshots,
    current,
    events_in,
    refresh,
    refresh_customers,
    refresh_daily_metrics,
    refresh_history,
    refresh_stale,
    replay_bucket,
    state,
    upgrade,
)
from tests.shipped import promote_projection as promote

Database = psycopg.Connection[Any]

DEEP = '{"x": ' + "[" * 2_000 + "]" * 2_000 + "}"
PAID = '{"amount": "3.00", "currency": "EUR"}'
CREATED = json.dumps({"customer_id": str(UUID(int=1)), "amount": "9.00", "currency": "EUR"})
DAY = 86_400_000

#: Type, payload and metadata: the log takes, or took, them all.
BAD = {
    "nested too deep": ("Unheard", DEEP, "{}"),
    "nested too deep, of a known type": ("OrderPaid", PAID[:-1] + f', "x": {DEEP}}}', "{}"),
    "a number out of range": ("Unheard", '{"x": 1e20000}', "{}"),
    "a whole number of 5,000 digits": ("Unheard", '{"x": ' + "9" * 5_000 + "}", "{}"),
    "no amount": ("OrderPaid", "{}", "{}"),
    "a version that is no number": ("OrderPaid", PAID, '{"schema_version": "vX"}'),
    "version 0": ("OrderPaid", PAID, '{"schema_version": 0}'),
    "version -1": ("OrderPaid", PAID, '{"schema_version": "-1"}'),
    "a version beyond all bounds": ("OrderPaid", PAID, '{"schema_version": 1' + "0" * 400 + "}"),
    "a version that is a list": ("OrderPaid", PAID, '{"schema_version": [1]}'),
}


def insert(
    connection: Database,
    order: UUID,
    *events: tuple[str, str, str],
    at: int = DAY,
    event_id: UUID | None = None,
) -> None:
    (version,) = connection.execute(
        "SELECT coalesce(max(version), 0) FROM order_events WHERE order_id = %s", (order,)
    ).fetchone() or (0,)
    with connection.transaction():  # no guard of the log looks at it
        connection.execute("SET LOCAL session_replication_role = replica")
        for number, (kind, data, metadata) in enumerate(events, start=1):
            connection.execute(
                "INSERT INTO order_events "
                "(id, order_id, version, event_type, event_data, created_at, metadata) "
                "SELECT coalesce(%s, uuidv7_at(greatest(clock_ms(), max(uuidv7_ms(id)) + 1), 0)), "
                "%s, %s, %s, %s, %s, %s FROM order_events",
                (event_id, order, version + number, kind, data, at + number, metadata),
            )


def paid(amount: str = "3.00") -> tuple[str, str, str]:
    return ("OrderPaid", json.dumps({"amount": amount, "currency": "EUR"}), "{}")


def replay(connection: Database, projection: Projection[Any]) -> tuple[int, int, int]:
    for bucket in range(BUCKETS):
        replay_bucket(connection, bucket, projection)
    promoted = promote(connection, projection)
    assert promoted is not None
    return promoted.added, promoted.changed, promoted.gone


@pytest.mark.parametrize("name", BAD)
def test_an_event_that_cannot_be_read_stops_its_order_only_in_every_read_model(
    connection: Database, name: str
) -> None:
    bad, first, good = uuid4(), uuid4(), uuid4()
    insert(connection, bad, ("OrderCreated", CREATED, "{}"), paid(), BAD[name], paid("5.00"))
    insert(connection, first, BAD[name], paid())
    insert(connection, good, paid(), paid("4.00"))
    for _ in range(2):
        refresh(connection)
        refresh_history(connection)
        refresh_customers(connection)
        refresh_daily_metrics(connection)
        refresh_stale(connection)
        build_snapshots(
            connection, datetime(1970, 1, 2, tzinfo=UTC).date(), datetime(1970, 1, 2, tzinfo=UTC).date()
        )
        shown = "SELECT order_id, version, paid_amount FROM {} ORDER BY version, order_id"
        expected = sorted([(bad, 2, Decimal("3.00")), (good, 2, Decimal("7.00"))])
        for table in ("orders", "orders_as_of('infinity')", "order_snapshots"):
            assert sorted(connection.execute(shown.format(table)).fetchall()) == expected, table
        for projection in ("orders", "order_history", "order_snapshots"):
            assert quarantined(connection, projection) == {bad, first}
        assert connection.execute("SELECT orders, lifetime_value FROM customers").fetchall() == [(1, 3)]
        assert connection.execute(
            "SELECT revenue FROM daily_order_metrics WHERE revenue <> 0"
        ).fetchall() == [(Decimal("10.00"),)]
        assert replay(connection, ORDERS) == (0, 0, 0)
        assert replay(connection, HISTORY) == (0, 0, 0)
    marks = connection.execute(
        "SELECT DISTINCT order_id, version, event_type, failed_at FROM quarantine"
    ).fetchall()
    assert sorted(marks) == sorted([(bad, 3, BAD[name][0], DAY + 3), (first, 1, BAD[name][0], DAY + 1)])
    for ask in (current, state):
        with pytest.raises(UnfoldableEventError, match=f"version 3 of order {bad}, {BAD[name][0]}") as raised:
            ask(connection, bad)
        assert (raised.value.order_id, raised.value.version) == (bad, 3)
        assert raised.value.state is not None
        assert raised.value.state.paid_amount == 3
        with pytest.raises(UnfoldableEventError) as raised:
            ask(connection, first)
        assert raised.value.state is None


@pytest.mark.parametrize("name", BAD)
def test_the_feed_delivers_an_event_that_cannot_be_decoded_and_goes_on(
    connection: Database, database_url: str, name: str
) -> None:
    order = uuid4()
    insert(connection, order, paid(), BAD[name], paid("5.00"))
    with eventstore.connect(database_url) as store:
        for events in (store.read(), store.stream(order), list(store.subscribe("us", follow=False))):
            assert [event.version for event in events] == [1, 2, 3]
            found = events[1].event
            assert isinstance(found, UndecodableEvent) or found is not None
            assert json.loads(json.dumps([str(event.recorded_at) for event in events]))
            for event in events:
                assert eventstore.RecordedEvent is type(event)
                assert as_cloudevent(event)["type"] == event.event_type


def test_an_event_that_cannot_be_decoded_has_its_text(connection: Database) -> None:
    order = uuid4()
    insert(connection, order, ("Unheard", '{"x": 1e20000}', '{"actor": "me"}'), ("Unheard", "{}", DEEP))
    number, nested = feed.stream(connection, order)
    assert isinstance(number.event, UndecodableEvent)
    assert json.loads(number.event.raw, parse_int=str)["x"] == "1" + "0" * 20_000
    assert (number.data, number.metadata) == ({}, {"actor": "me"})
    assert isinstance(nested.event, UndecodableEvent)
    assert nested.event.raw == "{}"
    cloudevent = as_cloudevent(number)
    assert (cloudevent["datacontenttype"], cloudevent["data"]) == ("text/plain", number.event.raw)
    assert cloudevent["dataerror"]


def test_how_deep_a_payload_may_be_does_not_depend_on_who_asks(connection: Database) -> None:
    order = uuid4()
    insert(connection, order, ("Unheard", '{"x": ' + "[" * 900 + "]" * 900 + "}", "{}"))

    def at_depth(frames: int, ask: Callable[[], Any]) -> Any:
        return at_depth(frames - 1, ask) if frames else ask()

    (event,) = events_in(connection.execute(f"SELECT {FOLD_JSON} FROM order_events").fetchall())
    (recorded,) = feed.stream(connection, order)
    for frames in (0, 300, 700):
        assert isinstance(at_depth(frames, lambda: event.event), UnknownEvent)
    assert isinstance(at_depth(600, lambda: recorded.event), UnknownEvent)


def test_an_absurd_id_has_a_recorded_time(connection: Database) -> None:
    order = uuid4()
    insert(connection, order, paid(), event_id=UUID(int=(1 << 128) - 1))
    (event,) = feed.stream(connection, order)
    assert event.recorded_at.year == 9999


# Amounts


def test_101_large_payments_simply_work(connection: Database) -> None:
    order = uuid4()
    insert(connection, order, ("OrderCreated", CREATED, "{}"), *[paid("99999999.99")] * 101)
    for derive in (refresh, refresh_history, refresh_customers, refresh_daily_metrics, refresh_stale):
        derive(connection)
    total = 101 * Decimal("99999999.99")
    for query in (
        "SELECT paid_amount FROM orders",
        "SELECT paid_amount FROM orders_as_of('infinity')",
        "SELECT lifetime_value FROM customers",
        "SELECT revenue FROM daily_order_metrics WHERE revenue <> 0",
        "SELECT paid_amount FROM order_checkpoints WHERE events = 100",
    ):
        (found,) = connection.execute(query).fetchone() or (None,)
        assert found == (total if "checkpoints" not in query else 99 * Decimal("99999999.99")), query
    assert replay(connection, ORDERS) == (0, 0, 0)


def test_an_amount_with_20_000_zeros_counts_and_stops_no_table(connection: Database) -> None:
    insert(connection, uuid4(), paid("1.0" + "0" * 20_000), paid("2.50"))
    refresh(connection)
    refresh_daily_metrics(connection)
    assert connection.execute("SELECT paid_amount FROM orders").fetchone() == (Decimal("3.50"),)
    assert connection.execute(
        "SELECT revenue::text FROM daily_order_metrics WHERE revenue <> 0"
    ).fetchone() == ("3.50",)


@pytest.mark.parametrize(
    ("payload", "amount"),
    [
        ('{"amount": "12.5"}', "12.5"),
        ('{"amount": "-0.07000"}', "-0.07"),
        ('{"amount": 1250}', "12.50"),
        ('{"amount": 12.5}', None),
        ('{"amount": 1e400}', None),
        ('{"amount": "1e3"}', None),
        ('{"amount": "NaN"}', None),
        ('{"amount": "123456789.00"}', None),
        ('{"amount": "0.001"}', None),
        ('{"amount": ["1"]}', None),
        ("{}", None),
        ("[1]", None),
    ],
)
def test_an_amount_is_one_in_the_form_of_the_log_or_none(
    connection: Database, payload: str, amount: str | None
) -> None:
    (found,) = connection.execute("SELECT event_amount(%s)", (payload,)).fetchone() or (None,)
    assert found == (None if amount is None else Decimal(amount))


def test_a_currency_of_any_length_stops_no_table(connection: Database) -> None:
    nonsense = (
        "OrderPaid",
        json.dumps({"amount": "1.00", "currency": "".join(map(chr, range(65, 20_000)))}),
        "{}",
    )
    insert(connection, uuid4(), paid(), nonsense)
    refresh(connection)
    refresh_daily_metrics(connection)
    assert connection.execute(
        "SELECT currency, revenue FROM daily_order_metrics WHERE revenue <> 0"
    ).fetchall() == [("EUR", 3)]


def test_sums_are_exact_whatever_the_precision_of_the_thread(connection: Database) -> None:
    order = uuid4()
    insert(connection, order, *[paid("99999999.99")] * 3)
    events = events_in(connection.execute(f"SELECT {FOLD_JSON} FROM order_events").fetchall())
    with localcontext(prec=4):
        assert fold(order, events).paid_amount == Decimal("299999999.97")
    large = OrderState(order_id=order, paid_amount=Decimal("1" + "0" * 40 + ".01"))
    RULES.apply(large, events[0], datetime.now(UTC))
    assert large.paid_amount == Decimal("10000000000000000000000000000000100000000.00")


# Names of unknown events


@pytest.mark.parametrize(
    "name", ["OrderPaid vX", "OrderPaid v2", "OrderPaid v" + "9" * 150, "v", " v2", "a\nb v3"]
)
def test_any_text_may_be_the_name_of_a_type(connection: Database, name: str) -> None:
    order = uuid4()
    insert(connection, order, paid(), (name, "{}", "{}"))
    for _ in range(3):
        found = refresh(connection)
    assert found.refolded == 0
    assert connection.execute("SELECT version, cardinality(unknown_events) FROM orders").fetchone() == (2, 1)


def test_each_unknown_type_is_listed_once_and_too_many_end_the_fold(connection: Database) -> None:
    order, other = uuid4(), uuid4()
    insert(connection, order, *[("Unheard", "{}", "{}")] * 250, paid())
    insert(connection, other, *[(f"Unheard{n}", "{}", "{}") for n in range(101)], paid())
    refresh(connection)
    rows = connection.execute(
        "SELECT version, cardinality(unknown_events) FROM orders ORDER BY 1 DESC"
    ).fetchall()
    assert rows == [(251, 1), (100, 100)]
    assert quarantined(connection, "orders") == {other}


# States that a table refuses

REFUSALS = {
    "overflow": "ALTER TABLE orders ALTER paid_amount TYPE numeric(4,2); "
    "ALTER TABLE orders_candidate ALTER paid_amount TYPE numeric(4,2)",
    "check": "ALTER TABLE orders ADD CHECK (paid_amount < 100); "
    "ALTER TABLE orders_candidate ADD CHECK (paid_amount < 100)",
    "trigger": "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF NEW.paid_amount >= 100 THEN "
    "RAISE 'too much'; END IF; RETURN NEW; END $$; "
    "CREATE TRIGGER no BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION no(); "
    "CREATE TRIGGER no BEFORE INSERT OR UPDATE ON orders_candidate FOR EACH ROW EXECUTE FUNCTION no()",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_state_that_the_table_refuses_ends_its_order_before_it(connection: Database, kind: str) -> None:
    connection.execute("DROP FUNCTION orders_as_of, order_as_of CASCADE")
    connection.execute(REFUSALS[kind])
    bad, first, healed = uuid4(), uuid4(), uuid4()
    good = [uuid4() for _ in range(20)]
    insert(connection, bad, paid("60.00"), paid("60.00"), paid("-90.00"), paid("80.00"))
    insert(connection, first, paid("500.00"), paid("1.00"))
    insert(connection, healed, paid("60.00"), paid("60.00"), paid("-90.00"))
    for order in good:
        insert(connection, order, paid())
    expected = sorted([(bad, 1, 60), (healed, 3, 30), *((order, 1, 3) for order in good)])
    shown = "SELECT order_id, version, paid_amount::int FROM orders ORDER BY order_id"
    refresh(connection)
    assert connection.execute(shown).fetchall() == expected
    assert refresh(connection).rows == 0
    assert replay(connection, ORDERS) == (0, 0, 0)
    assert connection.execute(shown).fetchall() == expected
    told = connection.execute("SELECT order_id, version, error FROM quarantined_orders").fetchall()
    assert {(order, version) for order, version, _ in told} == {(bad, 2), (first, 1)}
    assert all("OrderPaid" in error and "Error" not in error for _, _, error in told), told


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("ALTER TABLE orders DROP COLUMN currency CASCADE", psycopg.errors.UndefinedColumn),
        ("REVOKE INSERT, UPDATE ON orders FROM eventstore_projector", psycopg.errors.InsufficientPrivilege),
    ],
)
def test_what_is_not_the_fault_of_a_row_fails_the_refresh_and_sets_nobody_aside(
    connection: Database, damage: str, error: type[Exception]
) -> None:
    insert(connection, uuid4(), paid())
    connection.execute(damage)
    connection.execute("SET ROLE eventstore_projector")
    with pytest.raises(error):
        refresh(connection)
    connection.execute("RESET ROLE")
    assert connection.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)


def test_a_history_or_a_snapshot_that_is_refused_ends_its_order_only(connection: Database) -> None:
    for table in ("order_history", "order_history_candidate", "order_snapshots"):
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT small CHECK (paid_amount < 100)")
    bad, good = uuid4(), uuid4()
    day = datetime(1970, 1, 2, tzinfo=UTC).date()
    insert(connection, bad, paid("60.00"), paid("60.00"))
    insert(connection, good, paid())
    refresh_history(connection)
    build_snapshots(connection, day, day)
    expected = sorted([(bad, 1, 60), (good, 1, 3)])
    for _ in range(2):
        for table in ("orders_as_of('infinity')", "order_snapshots"):
            rows = connection.execute(f"SELECT order_id, version, paid_amount::int FROM {table}").fetchall()
            assert sorted(rows) == expected, table
        for projection in ("order_history", "order_snapshots"):
            assert quarantined(connection, projection) == {bad}
        insert(connection, bad, paid("1.00"), at=2 * DAY)
        insert(connection, good, paid("0.00"), at=2 * DAY)
        expected = sorted([(bad, 1, 60), (good, 2, 3)])
        refresh_history(connection)
        refresh_stale(connection)
        build_snapshots(connection, day, datetime(1970, 1, 3, tzinfo=UTC).date())
        connection.execute("DELETE FROM order_snapshots WHERE order_id = %s AND day = %s", (good, day))
        assert replay(connection, HISTORY) == (0, 0, 0)
        break
    rows = connection.execute("SELECT order_id, version, paid_amount::int FROM order_snapshots").fetchall()
    assert sorted(rows) == expected


# Healing


def test_of_many_orders_in_quarantine_those_are_tried_first_that_waited_longest(
    connection: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "_TRIED_AT_ONCE", 2)
    orders = [uuid4() for _ in range(5)]
    for order in orders:
        insert(connection, order, ("OrderPaid", "{}", "{}"))
    refresh(connection)

    class Lenient:
        version = RULES.version
        knows = staticmethod(RULES.knows)

        def apply(self, *_: object) -> None:
            """All is well."""

    lenient = replace(ORDERS, foldings=(Lenient(),))
    left = []
    for _ in range(4):
        refresh(connection, lenient)
        left.append(len(quarantined(connection, "orders")))
    assert left == [3, 1, 0, 0]
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (5,)


@pytest.fixture
def before_0004(new_database: Callable[..., str]) -> Iterator[tuple[Database, str]]:
    url = new_database(migrated=False)
    migrate.upgrade(url, "0003")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection, url


VIEWS = """
CREATE ROLE {role};
CREATE VIEW totals AS SELECT order_id, paid_amount - refunded_amount AS net FROM orders;
CREATE VIEW large WITH (security_barrier = true) AS SELECT * FROM totals WHERE net > 10;
CREATE VIEW at_last AS SELECT count(*) AS n FROM orders_as_of('infinity');
CREATE FUNCTION of_large() RETURNS SETOF large LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM large; END;
GRANT SELECT ON totals TO {role} WITH GRANT OPTION;
GRANT SELECT (net) ON large TO {role};
GRANT SELECT ON at_last TO PUBLIC;
REVOKE ALL ON FUNCTION of_large FROM PUBLIC;
GRANT EXECUTE ON FUNCTION of_large TO {role};
COMMENT ON VIEW totals IS 'ours';
COMMENT ON COLUMN totals.net IS 'what is left';
ALTER VIEW large OWNER TO {role};
"""
CATALOG = """
SELECT relname, relacl::text, relowner::regrole::text, reloptions::text, obj_description(oid, 'pg_class'),
       pg_get_viewdef(oid),
       ARRAY(SELECT concat(attname, attacl, col_description(oid, attnum))
                                    FROM pg_attribute a WHERE attrelid = c.oid AND attnum > 0 ORDER BY attnum)
  FROM pg_class c WHERE relname IN ('totals', 'large', 'at_last')
UNION ALL
SELECT proname, proacl::text, proowner::regrole::text, '', '', pg_get_functiondef(oid), '{}'
  FROM pg_proc WHERE proname IN ('of_large') ORDER BY 1
"""


def test_the_views_of_a_team_survive_that_sums_become_unbounded_and_no_table_is_written_anew(
    before_0004: tuple[Database, str],
) -> None:
    connection, url = before_0004
    role = f"team_{uuid4().hex[:8]}"
    connection.execute(VIEWS.format(role=role))
    files = (
        "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' AND "
        "relname ~ '^(orders|order_|customers|daily_o)'"
        " AND relname !~ 'event' ORDER BY 1"
    )
    before, stored = connection.execute(CATALOG).fetchall(), connection.execute(files).fetchall()
    upgrade(url)
    assert connection.execute(CATALOG).fetchall() == before
    assert dict(stored).items() <= dict(connection.execute(files).fetchall()).items()
    limited = connection.execute(
        "SELECT attrelid::regclass, attname FROM pg_attribute WHERE atttypmod > 0 AND attname ~ "
        "'^(paid_amount|refunded_amount|lifetime_value|revenue|refunds)$'"
    ).fetchall()
    assert limited == []
    end_sessions(connection, role)
    connection.execute(f"DROP OWNED BY {role} CASCADE")
    connection.execute(f"DROP ROLE {role}")


def test_what_cannot_be_created_again_is_named(before_0004: tuple[Database, str]) -> None:
    connection, url = before_0004
    connection.execute("CREATE VIEW paid AS SELECT paid_amount FROM orders")
    connection.execute("CREATE MATERIALIZED VIEW kept AS SELECT * FROM paid")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="materialized view kept depends on"):
        upgrade(url)
    assert migrate.current(url) == "0003"


def test_what_is_kept_of_the_day_of_a_bad_event_leads_whoever_starts_there_to_it(
    connection: Database,
) -> None:
    order = uuid4()
    day = datetime(1970, 1, 2, tzinfo=UTC).date()
    insert(connection, order, paid(), paid(), ("OrderPaid", "{}", "{}"), paid())
    insert(connection, order, paid(), at=2 * DAY)
    build_snapshots(connection, day, datetime(1970, 1, 3, tzinfo=UTC).date())
    kept = connection.execute("SELECT day, until_at, until_version, events FROM order_snapshots").fetchall()
    assert kept == [(day, DAY + 2, 2, 2)]
    with pytest.raises(UnfoldableEventError, match="version 3"):
        state(connection, order)
    before = state(connection, order, at=datetime(1970, 1, 2, 0, 0, 0, 2_000, tzinfo=UTC))
    assert before is not None
    assert before.paid_amount == 6
    insert(connection, order, paid("0.50"), at=DAY - 1)  # late: before all that was kept
    refresh_stale(connection)
    kept = connection.execute("SELECT day, until_version, paid_amount FROM order_snapshots").fetchall()
    assert kept == [(day, 2, Decimal("6.50"))]


def test_without_times_the_history_answers_as_the_table_does_even_after_a_clock_was_ahead(
    connection: Database,
) -> None:
    order = uuid4()
    ahead = 4_000_000_000_000
    insert(connection, order, paid(), at=ahead, event_id=UUID(int=(ahead << 80) + (7 << 76) + (1 << 63)))
    connection.execute("SELECT setval('feed_horizon', %s)", (ahead,))
    refresh(connection)
    refresh_history(connection)
    rows = connection.execute("SELECT order_id, version FROM orders").fetchall()
    assert rows == [(order, 1)]
    for ask in ("order_as_of(%s)", "orders_as_of('infinity') WHERE order_id = %s"):
        assert connection.execute(f"SELECT order_id, version FROM {ask}", (order,)).fetchall() == rows
