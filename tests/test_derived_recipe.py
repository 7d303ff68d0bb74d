"""Somebody adds a derived table: a migration, an entry in the registry, and everything follows from these."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.schema.migrate import revisions

_ROOT = Path(__file__).parents[1]
_NEWEST = revisions()[-1]

TABLE = """\
-- How many orders are placed in each hour of the day (UTC), and for how much.
CREATE TABLE busy_hours (
    hour    int PRIMARY KEY,
    orders  bigint NOT NULL,
    amount  numeric NOT NULL
);
"""
REVISION = f'''\
"""The hours in which orders are placed."""

from alembic import op

from eventstore.log.schema.steps import create_derived, run_sql

revision = "9999"
down_revision = "{_NEWEST}"


def upgrade() -> None:
    run_sql(op.get_bind(), revision, "busy_hours")
    create_derived(
        op.get_bind(),
        "busy_hours",
        source="orders",
        adds="SELECT extract(hour FROM placed_at AT TIME ZONE 'UTC')::int AS hour, 1 AS orders, amount "
        "FROM changed",
    )
'''
ENTRY = """\
BUSY_HOURS = Derived(
    name="busy_hours",
    description="How many orders are placed in each hour of the day, and for how much.",
    source=ORDERS,
    key=("hour",),
    schedule="15 * * * *",
    checks=(
        Check(
            name="night",
            description="Fails where an order is placed at night.",
            query="SELECT hour, orders FROM busy_hours WHERE hour < 6",
        ),
    ),
)

DOMAIN = Domain("""
RUN = """
import dagster as dg
from pipelines.definitions import build_defs
repository = build_defs().get_repository_def()
[schedule] = [each for each in repository.schedule_defs if each.job_name == "refresh_busy_hours"]
assert schedule.cron_schedule == "15 * * * *"
result = repository.get_job(schedule.job_name).execute_in_process(instance=dg.DagsterInstance.ephemeral())
assert result.success
print([(check.check_name, check.passed) for check in result.get_asset_check_evaluations()])
"""


@pytest.fixture
def python(tmp_path: Path, database_url: str) -> Callable[..., str]:
    """Runs Python on a copy of the tree, in which the table was added."""
    for name in ("eventstore", "pipelines"):
        shutil.copytree(_ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    schema = tmp_path / "eventstore" / "log" / "schema"
    (schema / "sql" / "9999").mkdir()
    (schema / "sql" / "9999" / "busy_hours.sql").write_text(TABLE)
    (schema / "versions" / "9999_busy_hours.py").write_text(REVISION)
    domain = tmp_path / "eventstore" / "orders" / "domain.py"
    text = domain.read_text().replace("DOMAIN = Domain(", ENTRY)
    domain.write_text(text.replace("ORDER_COUNTS)", "ORDER_COUNTS, BUSY_HOURS)"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "DATABASE_URL": database_url}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout or done.stderr

    return run


def test_an_added_table_is_filled_shown_checked_and_run_by_its_own_clock(
    connection: psycopg.Connection[Any], python: Callable[..., str]
) -> None:
    eventstore = ("-c", "from eventstore.face.cli import main; main()")

    def place(hour: int, amount: str) -> None:
        created = {"customer_id": str(uuid4()), "amount": amount, "currency": "EUR"}
        told = [{"type": "OrderCreated", "created_at": f"2026-03-03T{hour:02}:30:00Z", "data": created}]
        connection.execute("SELECT append_events(%s, %s)", (uuid4(), Jsonb(told)))

    place(9, "1.50")
    refused = python(*eventstore, "refresh", code=1)
    assert refused.startswith("error: nothing is noted for busy_hours: run `eventstore init`")
    assert refused.count("\n") == 1
    python(*eventstore, "init")
    place(9, "2.00")
    place(23, "4.00")
    python(*eventstore, "refresh")
    shown = "SELECT hour, orders, amount::text FROM busy_hours ORDER BY hour"
    assert connection.execute(shown).fetchall() == [(9, 2, "3.50"), (23, 1, "4.00")]
    assert "busy_hours" in python(*eventstore, "status")
    connection.execute("UPDATE orders SET placed_at = placed_at - interval '20 hours'")
    assert python("-c", RUN).strip() == "[('lag', True), ('night', False)]"
    assert connection.execute(shown).fetchall() == [(3, 1, "4.00"), (13, 2, "3.50")]
