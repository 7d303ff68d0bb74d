"""From the shell: appending safely, a part of a history, single buckets, snapshots of days."""

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.buckets import BUCKETS

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]
PAID = '{"amount": "12.50", "currency": "EUR"}'


def test_an_append_that_is_run_again_appends_nothing(cli: Cli, connection: Connection) -> None:
    order = uuid4()
    named = ("--source", "/shop", "--source-id", "17/paid", "--metadata", '{"actor": "ann"}')
    first = cli("append", order, "OrderPaid", PAID, *named, "--json").json
    again = cli("append", order, "OrderPaid", PAID, *named, "--json").json
    assert first == again
    rows = connection.execute("SELECT version, source, source_id, metadata ->> 'actor' FROM order_events")
    assert rows.fetchall() == [(1, "/shop", "17/paid", "ann")]


def test_a_payload_comes_from_standard_input(
    cli: Cli, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(PAID.encode())))
    assert cli("append", uuid4(), "OrderPaid", "-").code == 0
    (stored,) = connection.execute("SELECT event_data FROM order_events").fetchone() or ({},)
    assert stored == json.loads(PAID)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"\xff")))
    refused = cli("append", uuid4(), "OrderPaid", "-")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--source", "/shop"), "--source-id"),
        (("--source-id", "1"), "--source"),
        (("--metadata", "[]"), "not a JSON object"),
        (("--metadata", "{"), "not a JSON object"),
        (("--metadata", "\udcff"), "not a JSON object"),
    ],
)
def test_half_of_a_name_and_metadata_that_is_none_are_mistakes(
    cli: Cli, connection: Connection, arguments: tuple[str, ...], says: str
) -> None:
    ran = cli("append", uuid4(), "OrderPaid", PAID, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (0,)


def versions(cli: Cli, *arguments: object) -> list[int]:
    return [event["version"] for event in cli("history", *arguments, "--json").json["events"]]


def test_a_part_of_a_history(cli: Cli, connection: Connection) -> None:
    order = uuid4()
    recorded = []
    for day in (3, 5, 4):
        done = cli("append", order, "OrderPaid", PAID, "--at", f"2026-03-0{day}", "--json").json
        recorded.append(done["recorded_at"])
        connection.execute("SELECT pg_sleep(0.002)")
    assert versions(cli, order) == [1, 2, 3]
    assert versions(cli, order, "--limit", 2) == [2, 3]
    assert versions(cli, order, "--at", "2026-03-04") == [1, 3]
    assert versions(cli, order, "--known", recorded[1]) == [1, 2]
    assert versions(cli, order, "--at", "2026-03-04", "--known", recorded[1]) == [1]
    nothing = cli("history", order, "--at", "2020-01-01")
    assert (nothing.code, nothing.err.count("\n")) == (2, 1)
    assert "within these limits" in nothing.err
    assert cli("history", order, "--diff", "2026-03-01", "2026-03-05", "--limit", 1).code == 2


def test_single_buckets_are_replayed_and_the_rest_later(cli: Cli, connection: Connection) -> None:
    for _ in range(20):
        cli("append", uuid4(), "OrderPaid", PAID)
    cli("refresh")
    shown = cli("replay", "orders", "--bucket", 1, "--bucket", 3)
    assert shown.code == 0
    assert f"2 of {BUCKETS} buckets stand" in shown.out
    at = "SELECT bucket, finished_at FROM replay_buckets ORDER BY bucket"
    stood = connection.execute(at).fetchall()
    assert [bucket for bucket, _ in stood] == [1, 3]
    done = cli("replay", "orders", "--continue", "--preview", "--json").json
    assert (done["orders"], done["changed"]) == (20, 0)
    now = dict(connection.execute(at).fetchall())
    assert len(now) == BUCKETS
    assert [now[bucket] for bucket, _ in stood] == [finished for _, finished in stood]
    assert cli("replay", "--bucket", BUCKETS).code == 2


def test_snapshots_of_days_are_built(cli: Cli, connection: Connection) -> None:
    order = uuid4()
    for day in (1, 3):
        cli("append", order, "OrderPaid", PAID, "--at", f"2026-03-0{day}")
    done = cli("snapshots", "build", "2026-03-01", "2026-03-03", "--json").json
    assert done["days"] == {"2026-03-01": 1, "2026-03-02": 0, "2026-03-03": 1}
    assert connection.execute("SELECT count(*) FROM order_snapshots").fetchone() == (2,)
    assert "days without any" in cli("snapshots", "build", "2026-03-01", "2026-03-03").out
    for wrong in (("2026-03-03", "2026-03-01"), ("yesterday", "2026-03-01"), ("2026-02-30", "2026-03-01")):
        ran = cli("snapshots", "build", *wrong)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
