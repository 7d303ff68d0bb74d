"""consumers, settings, and what status says to a person on duty."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

import eventstore
from eventstore import Store

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]
PAID = Jsonb([{"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}])


@pytest.fixture
def ids(store: Store) -> list[UUID]:
    """Five events, and a consumer that is done with two of them."""
    for _ in range(5):
        store.append(uuid4(), eventstore.OrderPaid(amount=Decimal("1.00"), currency="EUR"))
    list(store.subscribe("billing", limit=2))
    return [event.id for event in store.read()]


def test_consumers_lists_whose_they_are_and_how_far_behind(
    cli: Cli, ids: list[UUID], connection: Connection
) -> None:
    [[name, found]] = cli("consumers", "--json").json.items()
    assert name == "billing"
    assert (found["watermark"], found["lag_events"], found["followed_by"]) == (str(ids[1]), 3, [])
    assert found["owner"] == connection.info.user
    heading, line = cli("consumers").out.splitlines()
    assert heading.split("\t") == ["name", "owner", "watermark", "lag", "last seen", "followed by"]
    assert line.startswith(f"billing\t{connection.info.user}\t{ids[1]}\t3 events")


def test_consumers_says_who_follows(cli: Cli, store: Store, ids: list[UUID]) -> None:
    events = store.subscribe("billing")
    next(events)
    [pid] = cli("consumers", "--json").json["billing"]["followed_by"]
    assert f"pid {pid}" in cli("consumers").out
    status = cli("status")
    assert f"consumer billing held by pid {pid} (role" in status.out
    refused = cli("consumers", "reset", "billing", "--to", "beginning")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert f"'billing' is followed by pid {pid} (role" in refused.err
    events.close()  # type: ignore[attr-defined]


def test_no_consumers_is_one_line(cli: Cli) -> None:
    assert cli("consumers").out.count("\n") == 1
    assert cli("consumers", "--json").json == {}


def test_reset_takes_an_id_a_time_and_words(cli: Cli, store: Store, ids: list[UUID]) -> None:
    done = cli("consumers", "reset", "billing", "--to", ids[3], "--json").json
    assert done == {"consumer": "billing", "watermark": str(ids[3]), "before": str(ids[1])}
    assert [event.id for event in store.subscribe("billing", follow=False)] == ids[4:]
    for to, expected in {"beginning": ids, "1 hour ago": ids, "now": []}.items():
        assert cli("consumers", "reset", "billing", "--to", to).code == 0
        assert [event.id for event in store.subscribe("billing", follow=False)] == expected


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["reset", "billing", "--to", "2999-01-01"], 1, "above the horizon"),
        (["reset", "billing", "--to", "ffffffff-ffff-ffff-ffff-ffffffffffff"], 1, "above the horizon"),
        (
            ["reset", "billing", "--to", "whenever"],
            2,
            "'whenever' is not an event id, a time, beginning or now",
        ),
        (["reset", "biling", "--to", "now"], 1, "there is no consumer 'biling'"),
        (["delete", "biling", "--yes"], 1, "there is no consumer 'biling'"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, ids: list[UUID], arguments: list[str], code: int, says: str) -> None:
    ran = cli("consumers", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (code, "", 1)
    assert says in ran.err
    assert cli("consumers", "--json").json["billing"]["watermark"] == str(ids[1])


def test_delete_asks_first(cli: Cli, ids: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert cli("consumers", "delete", "billing").code == 1
    assert "billing" in cli("consumers", "--json").json
    assert cli("consumers", "delete", "billing", "--yes", "--json").json == {
        "consumer": "billing",
        "deleted": True,
    }
    assert cli("consumers", "--json").json == {}


def test_status_names_holders_of_every_kind_and_what_ends_an_old_one(
    cli: Cli, database_url: str, connection: Connection
) -> None:
    connection.execute("ALTER TABLE settings DROP CONSTRAINT max_hold_is_between_10_seconds_and_1_day")
    connection.execute("UPDATE settings SET max_hold = '0'")
    cli("refresh")
    with (
        psycopg.connect(database_url, application_name="[forgotten]") as writer,
        psycopg.connect(database_url, application_name="psql") as other,
    ):
        writer.execute("SELECT append_events(%s, %s)", (uuid4(), PAID))
        other.execute("SELECT FROM projections WHERE name = 'orders' FOR UPDATE")
        pid = writer.info.backend_pid
        found = cli("status", "--json").json
        assert {holder["kind"] for holder in found["holders"]} == {"append", "projection"}
        assert [holder["remedy"] for holder in found["overdue_holders"]] == [
            f"SELECT pg_terminate_backend({pid})"
        ]
        shown = cli("status").out
        assert f"projection orders held by pid {other.info.backend_pid} (role" in shown
        assert "[forgotten]" in shown
        assert f"holds readers back with an open append\tSELECT pg_terminate_backend({pid})\n" in shown


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("name", ["[/]", "[bold]", "two\nlines", "\x1b[31mred"])
def test_names_that_others_chose_are_shown_as_they_are_and_do_nothing(
    cli: Cli,
    database_url: str,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    terminal: bool,
) -> None:
    connection.execute("SELECT save_watermark(%s, '00000000-0000-0000-0000-000000000000')", (name,))
    monkeypatch.setattr("eventstore.face.cli.output.console._force_terminal", terminal)
    shown = name if name.isprintable() else repr(name)
    with psycopg.connect(database_url, application_name=name) as writer:
        writer.execute("SELECT append_events(%s, %s)", (uuid4(), PAID))
        for command in ("status", "consumers"):
            ran = cli(command)
            assert ran.code == 0
            assert shown in ran.out
