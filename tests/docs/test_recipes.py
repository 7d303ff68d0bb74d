"""The recipes of docs/extending.md, each alone: its patch is applied to a copy of the tree and used."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.docs.tree import Tree, recipes

_RECIPES = recipes()
_ASSETS = """
import dagster as dg
from pipelines.definitions import build_defs
job = build_defs().resolve_job_def("refresh_shipments")
result = job.execute_in_process(instance=dg.DagsterInstance.ephemeral())
assert result.success
print(*(e.check_name for e in result.get_asset_check_evaluations() if e.passed))
"""

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git applies the patches")


class Team:
    """Somebody with a copy of the tree and a database, who follows a recipe."""

    def __init__(self, folder: Path, url: str) -> None:
        self._tree = Tree(folder)
        self._url = url
        self._environment = {**os.environ, "PYTHONPATH": str(folder), "DATABASE_URL": url}
        self._environment["EVENTSTORE_HOME"] = str(folder / "home")

    def follow(self, recipe: str) -> None:
        self._tree.apply(_RECIPES[recipe])

    def python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self._tree.folder,
            env=self._environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def eventstore(self, *arguments: str) -> Any:
        return json.loads(
            self.python("-c", "from eventstore.face.cli import main; main()", *arguments, "--json")
        )

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def append(self, order: UUID, *events: tuple[str, str, dict[str, Any]]) -> None:
        told = [{"type": kind, "created_at": f"2026-03-{day}", "data": data} for kind, day, data in events]
        self.sql("SELECT append_events(%s, %s)", order, Jsonb(told))


@pytest.fixture
def team(tmp_path: Path, new_database: Callable[..., str]) -> Team:
    return Team(tmp_path / "tree", new_database())


CREATED = ("OrderCreated", "01", {"customer_id": str(uuid4()), "amount": "9.00", "currency": "EUR"})
CANCELLED: tuple[str, str, dict[str, Any]] = ("OrderCancelled", "03", {})


def shipped(carrier: str, day: str = "02") -> tuple[str, str, dict[str, Any]]:
    return ("OrderShipped", day, {"carrier": carrier})


def delivered(day: str) -> tuple[str, str, dict[str, Any]]:
    return ("OrderDelivered", day, {})


def test_there_is_a_recipe_for_whatever_a_domain_is_made_of() -> None:
    assert list(_RECIPES) == [
        "A new event type",
        "A new column of orders",
        "A new read model",
        "A new derived table",
        "A new format of files",
    ]


def test_a_new_event_type_is_taken_and_orders_that_held_it_already_become_whole(team: Team) -> None:
    early, late = uuid4(), uuid4()
    team.append(early, CREATED, CANCELLED, ("OrderReopened", "04", {}))
    team.append(late, CREATED, CANCELLED)
    team.eventstore("refresh")
    statuses = "SELECT status, unknown_events FROM orders ORDER BY order_id = %s DESC"
    assert team.sql(statuses, early) == [("Cancelled", ["OrderReopened"]), ("Cancelled", [])]
    team.follow("A new event type")
    team.eventstore("append", str(late), "OrderReopened", "{}")
    assert team.eventstore("refresh")["refolded"] == 1
    assert team.sql(statuses, early) == [("Created", []), ("Created", [])]


def test_a_new_column_is_filled_for_all_the_past_and_shown_at_every_moment(team: Team) -> None:
    order, other = uuid4(), uuid4()
    team.append(order, CREATED, shipped("DHL"), delivered("05"))
    team.append(other, CREATED)
    team.eventstore("refresh")
    team.follow("A new column of orders")
    team.eventstore("init")
    team.append(other, shipped("UPS", "06"))
    team.eventstore("refresh")
    carriers = "SELECT carrier FROM orders ORDER BY order_id = %s DESC"
    assert team.sql(carriers, order) == [(None,), (None,)]  # by rules 1 until the promotion
    preview = team.eventstore("replay", "--preview")
    assert (preview["changed"], preview["columns"]) == (2, {"carrier": 2})
    promoted = team.eventstore("promote")
    assert team.sql(carriers, order) == [("DHL",), ("UPS",)]
    assert team.eventstore("show", str(order))["carrier"] == "DHL"
    # shipped, delivered; the other, shipped
    assert promoted["projections"]["order_history"]["changed"] == 3
    at = "SELECT order_id, carrier FROM orders_as_of(%s::timestamptz) ORDER BY order_id = %s DESC"
    assert team.sql(at, "2026-03-01", order) == [(order, None), (other, None)]
    assert team.sql(at, "2026-03-05", order) == [(order, "DHL"), (other, None)]
    assert team.sql("SELECT carrier FROM order_as_of(%s)", other) == [("UPS",)]
    assert team.eventstore("show", str(order), "--at", "2026-03-04")["carrier"] == "DHL"


def test_a_new_read_model_is_folded_replayed_shown_and_run_by_dagster(team: Team) -> None:
    for number in range(20):
        team.append(uuid4(), CREATED, shipped("DHL"), *([delivered("04")] if number % 2 else []))
    team.append(uuid4(), CREATED, shipped("UPS"), delivered("03"))
    team.append(uuid4(), CREATED)
    team.follow("A new read model")
    team.eventstore("init")
    team.eventstore("refresh")
    found = team.sql(
        "SELECT carrier, shipped, delivered, extract(epoch FROM mean_time) / 86400 "
        "FROM carrier_performance ORDER BY carrier"
    )
    assert found == [("DHL", 20, 10, 2), ("UPS", 1, 1, 1)]
    late = uuid4()
    team.append(late, CREATED, delivered("09"))
    team.eventstore("refresh")
    team.append(late, shipped("UPS", "04"))
    assert team.eventstore("refresh")["projections"]["shipments"]["refolded"] == 1
    preview = team.eventstore("replay", "shipments", "--preview")
    assert [preview[what] for what in ("orders", "added", "changed", "gone")] == [23, 0, 0, 0]
    team.sql("UPDATE shipments SET carrier = 'wrong' WHERE order_id = %s", late)
    replayed = team.eventstore("replay", "shipments")
    assert (replayed["events"], replayed["rows"], replayed["changed"]) == (20 * 2 + 10 + 3 + 1 + 3, 23, 1)
    assert team.sql("SELECT carrier FROM shipments WHERE order_id = %s", late) == [("UPS",)]
    assert "shipments" in str(team.eventstore("status"))
    team.append(uuid4(), shipped("UPS"))
    assert {"fold_version", "lag", "quarantined"} <= set(team.python("-c", _ASSETS).split())
    assert team.sql("SELECT shipped FROM carrier_performance WHERE carrier = 'UPS'") == [(3,)]


def test_a_new_format_is_read_from_files_and_again_from_its_rejects(team: Team, tmp_path: Path) -> None:
    order = uuid4()
    table = tmp_path / "march.csv"
    table.write_text(
        "id,source,type,subject,time,carrier,reason\n"
        f"1,/fair,OrderShipped,{order},2026-03-02T12:00:00Z,DHL,\n"
        f"2,/fair,OrderCancelled,{order},2026-03-03T12:00:00Z,,too late\n"
        f"3,/fair,OrderReopened,{order},2026-03-04T12:00:00Z,,\n"
    )
    team.follow("A new format of files")
    team.eventstore("init")
    counts = team.eventstore("ingest", str(table))
    assert (counts["appended"], counts["rejects_by_reason"]) == (2, {"unknown_type": 1})
    payloads = team.sql("SELECT event_data FROM order_events WHERE order_id = %s ORDER BY version", order)
    assert payloads == [({"carrier": "DHL"},), ({"reason": "too late"},)]
    team.follow("A new event type")
    assert team.eventstore("rejects", "retry")["appended"] == 1
    assert team.eventstore("show", str(order))["status"] == "Shipped"
    assert team.eventstore("ingest", str(table))["duplicates"] == 3
