"""`eventstore check`: whatever was damaged is named, and what is healthy is not, whoever writes meanwhile."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from eventstore.engine.made_from import refresh_made_from
from eventstore.engine.prover import Finding, Proof, Share
from eventstore.engine.refresh import refresh
from eventstore.engine.snapshots.build import build_snapshots, refresh_stale
from eventstore.face.checking import UNKNOWN, VIOLATED, Checked, checks_of, run, verdict_of
from eventstore.ingestion.moving import DONE
from eventstore.kernel.days import CHECKPOINT_EVERY
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import DOMAIN
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal
from eventstore.server.urls import with_database
from tests.seals.tampering import LOG, altering

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]
ORDERS = [UUID(int=number << 64) for number in range(1, 7)]
ONE, TWO = ORDERS[1], ORDERS[2]
DAYS = (date(2026, 3, 2), date(2026, 3, 4))


def event(kind: str, day: int, identity: str | None = None, **data: str) -> dict[str, Any]:
    made = {"type": kind, "data": data, "created_at": f"2026-03-{day:02d}T12:00:00Z"}
    return made | ({"source": "/shop", "source_id": identity} if identity else {})


def append_some(connection: Connection, orders: list[UUID]) -> None:
    """To each an order that was paid late; one has more events than lie between two checkpoints."""
    for order in orders:
        customer = str(UUID(int=order.int >> 64))
        append_json(
            connection,
            order,
            [
                event("OrderCreated", 2, "created", customer_id=customer, amount="10.00", currency="EUR"),
                event("OrderShipped", 4, "shipped"),
                event("OrderPaid", 3, "paid", amount="10.00", currency="EUR"),
            ],
        )


def refresh_all(connection: Connection) -> None:
    for projection in DOMAIN.projections:
        refresh(connection, projection)
    refresh_made_from(connection, DOMAIN, DOMAIN.projections)


class Shop(NamedTuple):
    """A database with all that there can be, and what lies beside it."""

    url: str
    home: Path

    @property
    def outside(self) -> Outside:
        return Outside(self.home, {})

    @property
    def landing(self) -> Path:
        return self.home / "landing"

    def check(self, *only: str, sample: int | None = None, role: str | None = None) -> list[Checked]:
        with open_connection(self.url) as connection:
            if role:
                connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            checks = checks_of(DOMAIN, self.outside, self.landing, sample)
            return [run(connection, check) for check in checks if not only or check.name in only]


@pytest.fixture(scope="module")
def healthy(server_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Made once; each test has a copy."""
    name = f"{template}_checked_{os.getpid()}"
    home = tmp_path_factory.mktemp("home")
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        shop = Shop(with_database(server_url, name), home)
        with open_connection(shop.url) as connection:
            append_some(connection, ORDERS)
            append_json(connection, ORDERS[0], [event("OrderShipped", 4)] * CHECKPOINT_EVERY)
            build_snapshots(connection, DOMAIN.states, *DAYS)
            refresh_all(connection)
            seal(connection, shop.outside)
            connection.execute(
                "SELECT save_watermark('billing', (SELECT watermark FROM projections LIMIT 1))"
            )
        try:
            yield shop
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def shop(healthy: Shop, server_url: str, new_database: Callable[..., str], tmp_path: Path) -> Shop:
    """A copy of the healthy one, whose log can be changed and, so that it can be changed, has no triggers."""
    url = new_database(migrated=False)
    name, source = (psycopg.conninfo.conninfo_to_dict(each)["dbname"] for each in (url, healthy.url))
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name}")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {source} STRATEGY FILE_COPY")
    return Shop(url, healthy.home)


class Damage(NamedTuple):
    check: str  #: the invariant that does not hold any more
    kind: str
    table: str
    names: str  #: what is named: an order, or something else
    statements: tuple[str, ...]


UNREFRESHED = "SET eventstore.refreshing = 'on'"  # a guard sees no stranger then
ABOVE = "UPDATE projections SET watermark = uuidv7_at(clock_ms() + 3600000, 0) WHERE name = '{}'"
DAMAGES = {
    "an event is gone from the middle": Damage(
        "versions",
        "versions",
        "order_events",
        str(ONE),
        ("DELETE FROM order_events WHERE order_id = '{ONE}' AND version = 2",),
    ),
    "the first event is gone": Damage(
        "versions",
        "versions",
        "order_events",
        str(ONE),
        ("DELETE FROM order_events WHERE order_id = '{ONE}' AND version = 1",),
    ),
    "a version is there twice": Damage(
        "versions",
        "versions",
        "order_events",
        str(ONE),
        (
            "ALTER TABLE order_events DROP CONSTRAINT order_events_pkey",
            "UPDATE order_events SET version = 2 WHERE order_id = '{ONE}' AND version = 3",
        ),
    ),
    "ids in another order than versions": Damage(
        "ids",
        "id_order",
        "order_events",
        str(ONE),
        (
            "UPDATE order_events SET id = uuidv7_at(uuidv7_ms(id) - 5000, 0) "
            "WHERE order_id = '{ONE}' AND version = 2",
        ),
    ),
    "an identity is there twice": Damage(
        "identities",
        "identity_twice",
        "order_events",
        str(ONE),
        (
            "DO $$ BEGIN EXECUTE (SELECT string_agg(format('DROP INDEX %s', indexrelid::regclass), ';') "
            "FROM pg_index WHERE pg_get_indexdef(indexrelid) LIKE '%event_identity%'); END $$",
            "UPDATE order_events SET source_id = 'paid' WHERE order_id = '{ONE}' AND version = 2",
        ),
    ),
    "two orders share the id of an event": Damage(
        "unique_ids",
        "id_twice",
        "order_events",
        "{id}",
        (
            "UPDATE order_events SET id = (SELECT id FROM order_events WHERE order_id = '{ONE}' "
            "AND version = 1) WHERE order_id = '{TWO}' AND version = 1",
        ),
    ),
    "an event of next year": Damage(
        "horizon",
        "beyond_clock",
        "order_events",
        "{last}",
        (
            "UPDATE order_events SET id = uuidv7_at(clock_ms() + 31536000000, 0) "
            "WHERE order_id = '{ONE}' AND version = 3",
        ),
    ),
    "a read model above the horizon": Damage(
        "watermarks",
        "above_horizon",
        "projections",
        "order_history",
        (ABOVE.format("order_history"),),
    ),
    "a derived table above the horizon": Damage(
        "watermarks",
        "above_horizon",
        "projections",
        "customers",
        (ABOVE.format("customers"),),
    ),
    "snapshots above the horizon": Damage(
        "watermarks",
        "above_horizon",
        "projections",
        "order_snapshots",
        (ABOVE.format("order_snapshots"),),
    ),
    "a consumer above the horizon": Damage(
        "watermarks",
        "above_horizon",
        "consumers",
        "billing",
        ("UPDATE consumers SET watermark = uuidv7_at(clock_ms() + 3600000, 0)",),
    ),
    "the last events of the log are gone": Damage(
        "watermarks",
        "ahead_of_log",
        "projections",
        "orders",
        ("DELETE FROM order_events WHERE id = (SELECT watermark FROM projections WHERE name = 'orders')",),
    ),
    "a read model lost its watermark": Damage(
        "watermarks",
        "watermark_missing",
        "projections",
        "order_counts",
        ("DELETE FROM projections WHERE name = 'order_counts'",),
    ),
    "a row that says something else": Damage(
        "orders",
        "differs",
        "orders",
        str(ONE),
        ("UPDATE orders SET status = 'Lost' WHERE order_id = '{ONE}'",),
    ),
    "a row is gone": Damage(
        "orders", "differs", "orders", str(ONE), ("DELETE FROM orders WHERE order_id = '{ONE}'",)
    ),
    "a row of no order": Damage(
        "orders",
        "ahead_of_log",
        "orders",
        str(ORDERS[0]),
        ("DELETE FROM order_events WHERE order_id = '{ZERO}'",),
    ),
    "a row that holds more than the log": Damage(
        "orders",
        "ahead_of_log",
        "orders",
        str(ONE),
        ("DELETE FROM order_events WHERE order_id = '{ONE}' AND version = 3",),
    ),
    "a history that says something else": Damage(
        "order_history",
        "differs",
        "order_history",
        str(ONE),
        ("UPDATE order_history SET paid_amount = 1 WHERE order_id = '{ONE}' AND recorded_to = 'infinity'",),
    ),
    "a history that says two things": Damage(
        "order_history_overlaps",
        "overlap",
        "order_history",
        str(ONE),
        (
            "UPDATE order_history SET valid_to = 'infinity' "
            "WHERE order_id = '{ONE}' AND recorded_to = 'infinity'",
        ),
    ),
    "a snapshot that says something else": Damage(
        "order_snapshots",
        "differs",
        "order_snapshots",
        str(ONE),
        ("UPDATE order_snapshots SET status = 'Lost' WHERE order_id = '{ONE}' AND day = '2026-03-03'",),
    ),
    "a snapshot is gone": Damage(
        "order_snapshots",
        "differs",
        "order_snapshots",
        str(ONE),
        ("DELETE FROM order_snapshots WHERE order_id = '{ONE}' AND day = '2026-03-03'",),
    ),
    "a checkpoint that says something else": Damage(
        "order_snapshots",
        "differs",
        "order_checkpoints",
        str(ORDERS[0]),
        ("UPDATE order_checkpoints SET amount = 11",),
    ),
    "a derived row that says something else": Damage(
        "customers",
        "differs",
        "customers",
        "customers 00000000-0000-0000-0000-000000000002, EUR",
        (
            UNREFRESHED,
            "UPDATE customers SET orders = 7 WHERE customer_id = '00000000-0000-0000-0000-000000000002'",
        ),
    ),
    "a derived row is gone": Damage(
        "daily_order_metrics",
        "differs",
        "daily_order_metrics",
        "daily_order_metrics 2026-03-04, EUR",
        (UNREFRESHED, "DELETE FROM daily_order_metrics WHERE day = '2026-03-04'"),
    ),
    "a derived row too many": Damage(
        "order_counts",
        "differs",
        "order_counts",
        "order_counts status, Lost",
        (UNREFRESHED, "INSERT INTO order_counts VALUES ('status', 'Lost', 1)"),
    ),
    "what lies under a derived table": Damage(
        "daily_order_metrics",
        "differs",
        "daily_payments",
        "daily_payments 2026-03-03, EUR",
        ("UPDATE daily_payments SET revenue = 1",),
    ),
    "an event that says something else than its seal": Damage(
        "seals",
        "seal_altered",
        "order_events",
        str(ONE),
        (
            'UPDATE order_events SET event_data = event_data || \'{{"amount": "1.00"}}\' '
            "WHERE order_id = '{ONE}' AND version = 3",
        ),
    ),
}


def test_all_of_a_healthy_store_holds(shop: Shop) -> None:
    for checked in shop.check():
        assert (checked.name, checked.verdict, checked.problems, checked.doubts) == (
            checked.name,
            "holds",
            [],
            [],
        )


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_named(shop: Shop, what: str) -> None:
    damage = DAMAGES[what]
    with psycopg.connect(shop.url, autocommit=True) as owner:
        ids = owner.execute(
            "SELECT id FROM order_events WHERE order_id = %s AND version = 1", (ONE,)
        ).fetchone()
        assert ids is not None
        with altering(owner, *LOG):
            for statement in damage.statements:
                owner.execute(statement.format(ZERO=ORDERS[0], ONE=ONE, TWO=TWO).encode())
        last = owner.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
        assert last is not None
    [checked] = shop.check(damage.check)
    assert checked.verdict == VIOLATED
    named = damage.names.format(id=ids[0], last=last[0])
    assert (damage.kind, damage.table, named) in {
        (problem.kind, problem.table, str(problem.order_id or problem.id)) for problem in checked.problems
    }


def test_damage_that_whoever_reads_finds_without_being_able_to_write(shop: Shop) -> None:
    """The role that reads is enough."""
    with psycopg.connect(shop.url, autocommit=True) as owner:
        owner.execute("UPDATE orders SET status = 'Lost' WHERE order_id = %s", (ONE,))
    checked = {each.name: each for each in shop.check(role="eventstore_reader")}
    assert checked["orders"].verdict == VIOLATED
    for name, each in checked.items():
        assert (name, each.verdict, each.doubts) == (name, VIOLATED if name == "orders" else "holds", [])


def test_what_a_role_may_not_read_cannot_be_told(shop: Shop) -> None:
    checked = shop.check("versions", "watermarks", role="eventstore_writer")
    assert [each.verdict for each in checked] == [UNKNOWN, UNKNOWN]
    assert "grant the role" in checked[0].doubts[0]


def test_a_sample_has_the_first_order_and_the_last_one(shop: Shop) -> None:
    for end in ("min", "max"):
        with psycopg.connect(shop.url, autocommit=True) as connection:
            (order,) = connection.execute(f"SELECT {end}(order_id::text) FROM orders").fetchone() or ("",)
            connection.execute("UPDATE orders SET status = 'Lost' WHERE order_id = %s", (order,))
        [checked] = shop.check("orders", sample=1)
        assert order in [str(problem.order_id) for problem in checked.problems]


def test_a_sample_is_of_some_orders_and_finds_what_is_wrong_with_all(shop: Shop) -> None:
    with psycopg.connect(shop.url, autocommit=True) as owner:
        owner.execute("UPDATE orders SET status = 'Lost'")
        owner.execute("UPDATE order_snapshots SET status = 'Lost'")
        owner.execute("UPDATE order_history SET status = 'Lost'")
    for checked in shop.check("orders", "order_history", "order_snapshots", sample=12):
        assert (checked.verdict, checked.whole) == (VIOLATED, False)


def test_files_in_done_that_the_log_lacks_are_named(shop: Shop, tmp_path: Path) -> None:
    shop = shop._replace(home=tmp_path)
    [skipped] = shop.check("files")
    assert skipped.skipped
    day = shop.landing / DONE / "2026-03-05"
    day.mkdir(parents=True)
    for name in ("known.ndjson", "unknown.ndjson", "caf\udce9\n.ndjson"):
        (day / name).write_text(name.encode(errors="replace").decode())
    with psycopg.connect(shop.url, autocommit=True) as connection:
        is_now = (day / "known.ndjson").stat()
        connection.execute(
            "INSERT INTO ingested_files (file, size, modified_ns, read, appended, duplicates, rejected) "
            "VALUES ('/landing/known.ndjson', %s, %s, 1, 1, 0, 0)",
            (is_now.st_size, is_now.st_mtime_ns),
        )
    [checked] = shop.check("files")
    assert checked.looked_at == 3
    assert sorted(Path(problem.id or "").name for problem in checked.problems) == [
        "caf\\xe9\\n.ndjson",
        "unknown.ndjson",
    ]


def test_writers_refreshes_and_open_appends_are_no_reason_to_report_anything(shop: Shop) -> None:
    """Appends of all kinds, some rolled back or left open, late events, refreshes of everything, seals."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def repeat(seed: int, what: Callable[[Connection, Random], object]) -> None:
        chance = Random(seed)
        try:
            with open_connection(shop.url) as connection:
                while not stop.is_set():
                    with suppress(psycopg.errors.RaiseException, psycopg.errors.DeadlockDetected):
                        what(connection, chance)
        except BaseException as error:
            errors.append(error)

    def write(connection: Connection, chance: Random) -> None:
        with connection.transaction(force_rollback=chance.random() < 0.2):
            for _ in range(chance.choice([1, 1, 2, 3])):
                order = chance.choice([*ORDERS, UUID(int=chance.getrandbits(128))])
                kind, day = (
                    chance.choice(["OrderPaid", "OrderShipped", "OrderTeleported"]),
                    chance.randrange(1, 9),
                )
                data = {"amount": "1.00", "currency": "EUR"} if kind == "OrderPaid" else {}
                append_json(connection, order, [event(kind, day, **data)] * chance.choice([1, 2, 4]))

    def follow(connection: Connection, _: Random) -> None:
        refresh_all(connection)
        connection.execute("SELECT save_watermark('billing', uuidv7_ceiling(horizon_ms()))")

    def build(connection: Connection, chance: Random) -> None:
        day = date(2026, 3, chance.randrange(2, 9))
        build_snapshots(connection, DOMAIN.states, day, day)
        refresh_stale(connection, DOMAIN.states)
        seal(connection, shop.outside)

    works = [write, write, write, follow, build]
    threads = [threading.Thread(target=repeat, args=work) for work in enumerate(works)]
    for thread in threads:
        thread.start()
    try:
        reports = [shop.check(sample=None if turn % 2 else 500) for turn in range(4)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    for report in reports:
        assert {each.name: (each.problems, each.doubts) for each in report} == {
            each.name: ([], []) for each in report
        }
        assert verdict_of(report) == "holds"


def test_a_landing_folder_at_a_url_is_skipped_and_all_else_is_checked(
    cli: Cli, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    append_some(connection, ORDERS)
    cli("refresh")
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    (tmp_path / "eventstore.toml").write_text('landing = "s3://bucket/landing"\n')
    ran = cli("check", "--json")
    assert (ran.code, ran.json["problems"]) == (0, [])
    [files] = [each for each in ran.json["checks"] if each["name"] == "files"]
    assert "s3://bucket/landing" in files["skipped"]


def test_the_command_exits_with_1_where_something_does_not_hold_and_names_it(
    cli: Cli, connection: Connection
) -> None:
    append_some(connection, ORDERS)
    cli("refresh")
    ran, checks = cli("check"), cli("check", "--json").json["checks"]
    assert (ran.code, len(ran.out.splitlines())) == (0, 1 + len(checks))
    assert ran.out.count("\tholds\t") == sum(not each["skipped"] for each in checks)
    assert ran.out.count("\tskipped\t") == ran.err.count(": skipped, ") > 0
    connection.execute("UPDATE orders SET status = 'Lost' WHERE order_id = %s", (ONE,))
    ran = cli("check", "--all")
    assert ran.code == 1
    assert f"differs in orders: order {ONE}: its rows in orders differ from a fold of its events" in ran.out
    found = cli("check", "--all", "--json")
    assert found.code == 1
    [problem] = [each for each in found.json["problems"] if each["table"] == "orders"]
    assert problem == {
        "kind": "differs",
        "table": "orders",
        "detail": "its rows in orders differ from a fold of its events",
        "order_id": str(ONE),
        "id": None,
    }


def test_the_command_looks_only_at_what_it_is_told_to(cli: Cli, connection: Connection) -> None:
    connection.execute("DELETE FROM projections")
    found = cli("check", "--only", "versions", "--only", "ids", "--json").json
    assert [each["name"] for each in found["checks"]] == ["versions", "ids"]
    refused = cli("check", "--only", "virtues")
    assert refused.code == 2
    assert 'there is no invariant "virtues"' in refused.err


def test_the_command_exits_with_2_where_it_cannot_tell(
    cli: Cli, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_some(connection, ORDERS)
    cli("refresh")
    connection.execute("UPDATE projections SET fold_version = 'of another release' WHERE name = 'orders'")
    ran = cli("check")
    assert ran.code == 2
    assert "this release does not have" in ran.out
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert cli("check").code == 2


def test_an_invariant_of_the_domain_is_looked_at_too(shop: Shop) -> None:
    mine = Proof(
        name="luck",
        description="No order has the number 13.",
        prove=lambda _, __, ___: Share(None, 1, [Finding("13", "unlucky")]),
        again=lambda _, __: [],
        total=lambda _: 1,
        kind="bad_luck",
    )
    domain = replace(DOMAIN, proofs=(mine,))
    with open_connection(shop.url) as connection:
        checks = {check.name: check for check in checks_of(domain, shop.outside, shop.landing)}
        assert [each.kind for each in run(connection, checks["luck"]).problems] == ["bad_luck"]
