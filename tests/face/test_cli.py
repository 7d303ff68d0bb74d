"""The command line: init, append, show, refresh, replay, status, tail, url."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

CREATED = '{"customer_id": "00000000-0000-0000-0000-000000000007", "amount": "12.50", "currency": "EUR"}'
PAID = '{"amount": "12.50", "currency": "EUR"}'

Cli = Callable[..., Any]


def test_append_then_show(cli: Cli) -> None:
    order = uuid4()
    recorded = cli("append", order, "OrderCreated", CREATED, "--at", "2026-03-03", "--json").json
    assert (recorded["version"], recorded["happened_at"]) == (1, "2026-03-03T00:00:00Z")
    cli("append", order, "OrderPaid", PAID, "--expected-version", 1)
    state = cli("show", order, "--json").json
    expected = {"order_id": str(order), "amount": "12.50", "currency": "EUR", "status": "Paid", "version": 2}
    assert {name: state[name] for name in expected} == expected
    assert "Paid" in cli("show", order).out


def test_append_at_another_version_than_expected_fails_and_names_it(cli: Cli) -> None:
    order = uuid4()
    cli("append", order, "OrderCreated", CREATED)
    ran = cli("append", order, "OrderPaid", PAID, "--expected-version", 5)
    assert ran.code == 1
    assert "is at version 1, expected 5" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["OrderPayed", PAID], 'unknown event type "OrderPayed"; known: OrderCreated'),
        (["OrderPaid", "{"], "OrderPaid"),
        (["OrderPaid", "[]"], "Expected `object`"),
        (["OrderPaid", '{"amount": 12.5, "currency": "EUR"}'], "amount"),
        (["OrderPaid", '{"amount": "12.345", "currency": "EUR"}'], "DECIMAL(10,2)"),
        (["OrderPaid", PAID, "--at", "someday"], '"someday" is not a time'),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_2(cli: Cli, arguments: list[str], says: str) -> None:
    ran = cli("append", uuid4(), *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_show_of_an_unknown_order_is_exit_2(cli: Cli) -> None:
    ran = cli("show", uuid4())
    assert (ran.code, ran.out) == (2, "")
    assert "has no events" in ran.err
    assert cli("show", "order-1").code == 2


def test_refresh_and_replay_report_what_they_did(cli: Cli, connection: psycopg.Connection[Any]) -> None:
    for _ in range(3):
        cli("append", uuid4(), "OrderCreated", CREATED)
    refreshed = cli("refresh", "--json").json
    newest = connection.execute("SELECT id FROM order_events ORDER BY id DESC LIMIT 1").fetchone()
    assert newest is not None
    assert (refreshed["events"], refreshed["watermark"]) == (3, str(newest[0]))
    connection.execute("DELETE FROM orders WHERE order_id = (SELECT order_id FROM orders LIMIT 1)")
    replayed = cli("replay", "--json").json
    assert {name: replayed[name] for name in ("events", "rows", "added", "changed", "gone")} == {
        "events": 3,
        "rows": 3,
        "added": 1,
        "changed": 0,
        "gone": 0,
    }


def test_status_shows_the_lag_and_who_holds_the_horizon(
    cli: Cli, database_url: str, connection: psycopg.Connection[Any]
) -> None:
    cli("append", uuid4(), "OrderCreated", CREATED)
    status = cli("status", "--json").json
    assert (status["events"], status["projections"]["orders"]["lag_events"]) == (1, 1)
    cli("refresh")
    with psycopg.connect(database_url, application_name="forgotten") as writer:
        writer.execute(
            "SELECT append_events(%s, %s)", (uuid4(), f'[{{"type": "OrderPaid", "data": {PAID}}}]')
        )
        status = cli("status", "--json").json
        assert status["projections"]["orders"]["lag_events"] == 0
        assert [holder["application_name"] for holder in status["horizon_holders"]] == ["forgotten"]
        assert "forgotten" in cli("status").out


def test_a_session_of_another_machine_is_named_with_its_address(
    cli: Cli, connection: psycopg.Connection[Any]
) -> None:
    connection.execute(
        "CREATE OR REPLACE FUNCTION horizon_holders() RETURNS TABLE (floor_ms bigint, pid int, role name, "
        "application_name text, client_addr inet, state text, open_since timestamptz, query text) "
        "LANGUAGE sql AS $$ SELECT 1, 2, 'anna'::name, 'till', '10.0.0.7'::inet, 'active', now(), 'SELECT' $$"
    )
    [holder] = cli("status", "--json").json["horizon_holders"]
    assert (holder["role"], holder["client_addr"]) == ("anna", "10.0.0.7")


def test_tail_prints_cloudevents_that_can_be_ingested_again(cli: Cli) -> None:
    order = uuid4()
    cli("append", order, "OrderCreated", CREATED, "--at", "2026-03-03T12:00:00.250Z")
    cli("append", order, "OrderPaid", PAID)
    lines = [msgspec.json.decode(line) for line in cli("tail").out.splitlines()]
    assert [(line["type"], line["subject"], line["version"]) for line in lines] == [
        ("OrderCreated", str(order), 1),
        ("OrderPaid", str(order), 2),
    ]
    assert (lines[0]["specversion"], lines[0]["time"]) == ("1.0", "2026-03-03T12:00:00.250Z")
    assert lines[0]["data"] == msgspec.json.decode(CREATED)
    assert cli("tail", "--after", lines[0]["id"]).json == lines[1]
    assert cli("tail", "--limit", 1).json == lines[0]


def test_tail_shows_nothing_of_an_append_that_is_still_open(cli: Cli, database_url: str) -> None:
    with psycopg.connect(database_url) as writer:
        writer.execute(
            "SELECT append_events(%s, %s)", (uuid4(), f'[{{"type": "OrderPaid", "data": {PAID}}}]')
        )
        cli("append", uuid4(), "OrderPaid", PAID)
        assert cli("tail").out == ""
        writer.commit()
    assert cli("tail").out.count("\n") == 2


def test_init_twice_and_url(cli: Cli, database_url: str, new_database: Callable[..., str]) -> None:
    assert cli("init", "--json").json["previous_revision"] is not None
    assert cli("url").out == database_url + "\n"


def test_init_creates_a_missing_database(
    cli: Cli, server_url: str, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(migrated=False)
    with psycopg.connect(server_url, autocommit=True) as server:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        server.execute(psycopg.sql.SQL("DROP DATABASE {}").format(psycopg.sql.Identifier(str(name))))
    monkeypatch.setenv("DATABASE_URL", url)
    assert cli("status").code == 1
    assert cli("init", "--json").json["previous_revision"] is None
    assert cli("status", "--json").json["events"] == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://user:secret@localhost/x", "only PostgreSQL"),
        ("postgresql://user:secret@localhost:1/x", "cannot connect"),
        ("nonsense", "DATABASE_URL is not a URL"),
    ],
)
def test_a_wrong_database_url_is_one_line_without_the_password(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    ran = cli("status")
    assert ran.code == 1
    assert says in ran.err
    assert "secret" not in ran.err
    assert "Traceback" not in ran.err


def test_the_installed_command_runs(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    command = [sys.executable, "-c", "from eventstore.face.cli import main; main()", "status", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert msgspec.json.decode(ran.stdout)["events"] == 0


def test_tail_follow_prints_events_as_they_come(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    command = [sys.executable, "-c", "from eventstore.face.cli import main; main()", "tail", "--follow"]
    order = uuid4()
    with (
        psycopg.connect(database_url, autocommit=True) as writer,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for version in (1, 2):
            writer.execute(
                "SELECT append_events(%s, %s)", (order, f'[{{"type": "OrderPaid", "data": {PAID}}}]')
            )
            line = msgspec.json.decode(process.stdout.readline())
            assert (UUID(line["subject"]), line["version"]) == (order, version)
        process.terminate()
