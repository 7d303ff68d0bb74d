"""A server, a database or a role with settings that nobody expects: everything works, and says the same."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

import eventstore
from eventstore import Fact, OrderCreated, OrderPaid, OrderShipped
from eventstore.ingestion.rejects import list_rejects
from eventstore.log.connection import Connection
from eventstore.orders.domain import DOMAIN
from eventstore.server.urls import database_name, with_database
from tests.buckets import BUCKETS
from tests.log.sessions import end_sessions
from tests.shipped import (
    append,
    build_snapshots,
    history_of,
    ingest,
    refresh,
    refresh_customers,
    refresh_daily_metrics,
    replay_bucket,
    status,
    upgrade,
)
from tests.shipped import promote_projection as promote

#: Settings that change what statements mean, or end them.
ODD = {
    "search_path": "nowhere, pg_catalog",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "50ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "50ms",
    "idle_session_timeout": "50ms",
    "transaction_timeout": "50ms",
    "TimeZone": "Asia/Kolkata",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "exit_on_error": "on",
}
#: What makes it slower, or looks different on the way, is left as it is, and changes nothing either.
SLOW = {
    "bytea_output": "escape",
    "plan_cache_mode": "force_generic_plan",
    "enable_indexscan": "off",
    "enable_seqscan": "off",
    "enable_partition_pruning": "off",
    "enable_hashjoin": "off",
    "jit_above_cost": "0",
    "work_mem": "64kB",
    "synchronous_commit": "off",
    "client_min_messages": "debug1",
    "xmloption": "document",
    "timezone_abbreviations": "India",
    "max_parallel_workers_per_gather": "8",
}
FIRST, SECOND = UUID(int=1), UUID(int=2)
NOON = datetime(2026, 3, 3, 12, 0, 0, 250_000, tzinfo=UTC)
MORNING = datetime(2026, 3, 3, 9, tzinfo=UTC)


def work_through(url: str, folder: Path) -> None:
    """Everything that the event store does, on an empty database."""
    file = folder / "events.ndjson"
    event = {
        "specversion": "1.0",
        "id": "ü-1",
        "source": "/shop\\",
        "type": "OrderCreated",
        "subject": str(SECOND),
        "time": "2026-03-03T12:00:00.25Z",
        "data": {"customer_id": str(UUID(int=8)), "amount": "3.10", "currency": "EUR", "note": "it's \\ 😀"},
    }
    file.write_text(json.dumps(event, ensure_ascii=False) + "\nno event: \\ ü\n", encoding="utf-8")
    created = OrderCreated(customer_id=UUID(int=7), amount=Decimal("12.50"), currency="EUR")
    paid = Fact(OrderPaid(amount=Decimal("12.50"), currency="EUR"), at=MORNING, source="/pay", source_id="1")
    with eventstore.connect(url) as store:
        store.append(FIRST, [Fact(created, at=NOON)], expected_version=0)
        with store.connection() as connection:
            done = ingest(connection, [file])
            assert (done.appended, done.rejected) == (1, 1)
            assert ingest(connection, [file]).duplicates == 1
            assert [reject.raw for reject in list_rejects(connection)] == ["no event: \\ ü".encode()]
            bring_up_to_date(connection)
        with pytest.raises(eventstore.ConcurrencyError):
            store.append(FIRST, [created], expected_version=0)
        store.append(FIRST, paid)  # late: folded again, and the snapshot of the day too
        assert len(store.append(FIRST, [paid, OrderShipped()], expected_version=2)) == 2
        with store.connection() as connection:
            bring_up_to_date(connection)
            assert connection.execute(
                "SELECT order_id, amount::text, status, version FROM orders ORDER BY order_id"
            ).fetchall() == [(FIRST, "12.50", "Shipped", 3), (SECOND, "3.10", "Created", 1)]
            assert connection.execute(
                "SELECT order_id, day, status FROM order_snapshots WHERE day = '2026-03-03' ORDER BY order_id"
            ).fetchall() == [(FIRST, date(2026, 3, 3), "Paid"), (SECOND, date(2026, 3, 3), "Created")]
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (2,)
            for projection in DOMAIN.projections:
                for bucket in range(BUCKETS):
                    replay_bucket(connection, bucket, projection)
                promoted = promote(connection, projection, by_hand=True)
                assert promoted is not None
                assert (promoted.added, promoted.changed, promoted.gone) == (0, 0, 0)
            assert [entry.event.version for entry in history_of(connection, FIRST)] == [1, 2, 3]
            now = status(connection)
            assert (now.events, now.rejects) == (4, {"not_json": 1})
            assert now.projections["orders"].lag_events == 0
        state = store.state(FIRST, at=datetime(2026, 3, 3, 23, tzinfo=UTC))
        assert state is not None
        assert (state.status, state.paid_at, state.version) == ("Paid", MORNING, 2)
        current = store.current(SECOND)
        assert current is not None
        assert (str(current.amount), current.status) == ("3.10", "Created")
        assert len(store.read()) == 4
        followed = list(store.subscribe("billing", follow=False))
        assert [event.order_id for event in followed] == [FIRST, SECOND, FIRST, FIRST]
        assert followed[1].data["note"] == "it's \\ 😀"
        assert (followed[1].source, followed[1].source_id) == ("/shop\\", "ü-1")
        assert list(store.subscribe("billing", follow=False)) == []
        with store.connection() as one, store.connection() as two:
            see_what_a_session_shows(one)
            two.execute("SELECT pg_sleep(0.1)")  # the first one is idle
            with one.transaction():
                one.execute("SELECT")
                two.execute("SELECT pg_sleep(0.1)")  # ... and now in a transaction


def see_what_a_session_shows(connection: Connection) -> None:
    with pytest.raises(eventstore.ConcurrencyError):
        append(connection, SECOND, [OrderShipped()], expected_version=0)
    for shows, expected in (
        ("interval '25 hours'", timedelta(hours=25)),
        ("now()::text ~ '\\+00$'", True),
        ("0.1::float8 + 0.2", 0.1 + 0.2),
        ("'{null}'::text[]", [None]),
        ("NULL = 1 OR NULL = NULL", None),
        ("'orders'::regclass::text", "orders"),
        ("current_setting('lock_timeout')", "10s"),
        ("current_setting('row_security')", "on"),
        ("current_setting('transaction_deferrable')", "off"),
    ):
        assert connection.execute(f"SELECT {shows}").fetchone() == (expected,), shows


def bring_up_to_date(connection: Connection) -> None:
    for projection in DOMAIN.projections:
        refresh(connection, projection)
    build_snapshots(connection, date(2026, 3, 3), date(2026, 3, 3))
    refresh_customers(connection)
    refresh_daily_metrics(connection)


def set_by(server_url: str, who: str, name: str, settings: dict[str, str]) -> None:
    """``who`` is DATABASE or ROLE."""
    with psycopg.connect(server_url, autocommit=True) as server:
        for setting, value in settings.items():
            server.execute(
                sql.SQL("ALTER {} {} SET {} = {}").format(
                    sql.SQL(who),
                    sql.Identifier(name),
                    sql.SQL(setting),
                    sql.SQL(value if setting == "search_path" else f"'{value}'"),
                )
            )


def known_to(server_url: str, settings: dict[str, str]) -> dict[str, str]:
    with psycopg.connect(server_url) as connection:
        known = {name for (name,) in connection.execute("SELECT name FROM pg_settings").fetchall()}
    return {name: value for name, value in settings.items() if name in known}


@pytest.mark.parametrize("name", ODD)
def test_a_setting_of_the_database_changes_nothing(
    name: str, database_url: str, server_url: str, tmp_path: Path
) -> None:
    settings = known_to(server_url, {name: ODD[name]})
    if not settings:
        pytest.skip(f"this PostgreSQL has no {name}")
    set_by(server_url, "DATABASE", database_name(database_url), settings)
    work_through(database_url, tmp_path)


def test_settings_that_make_it_slow_change_nothing(
    database_url: str, server_url: str, tmp_path: Path
) -> None:
    set_by(server_url, "DATABASE", database_name(database_url), known_to(server_url, SLOW))
    work_through(database_url, tmp_path)


def test_settings_of_the_role_change_nothing_from_the_first_migration_on(
    new_database: Callable[..., str], server_url: str, tmp_path: Path
) -> None:
    url = new_database(migrated=False)
    role = f"{database_name(url)}_owner"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'hush'")
    try:
        set_by(server_url, "ROLE", role, known_to(server_url, ODD | SLOW))
        parts = urlsplit(url)
        login = f"{role}:hush@{parts.netloc.rpartition('@')[2]}"
        url = urlunsplit(parts._replace(netloc=login))
        upgrade(url)
        work_through(url, tmp_path)
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            with psycopg.connect(with_database(server_url, database_name(url)), autocommit=True) as inside:
                end_sessions(inside, role)
                inside.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
                inside.execute(f"DROP OWNED BY {role}")
            server.execute(f"DROP ROLE {role}")


def test_options_in_the_url_change_nothing(database_url: str, server_url: str, tmp_path: Path) -> None:
    options = " ".join(
        f"-c {name}={value}".replace(" ", "\\ ").replace("-c\\ ", "-c ")
        for name, value in known_to(server_url, ODD | SLOW).items()
    )
    separator = "&" if "?" in database_url else "?"
    work_through(f"{database_url}{separator}options={quote(options)}", tmp_path)
