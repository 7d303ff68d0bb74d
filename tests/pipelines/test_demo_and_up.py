"""The two commands of a newcomer, as processes of their own."""

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path, base_environment: dict[str, str]) -> Command:
    """Runs a module of `pipelines` in a home of its own: ``command("demo", database_url)``."""

    def run(module: str, database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = {"EVENTSTORE_HOME": str(tmp_path / "home"), "DATABASE_URL": database_url, "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, "-m", f"pipelines.{module}", *arguments],
            cwd=tmp_path,
            env=base_environment | settings,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def number(output: str, name: str) -> int:
    """The number that stands behind ``name`` in the output."""
    found = re.search(rf"^\W*{name}\s+([\d,]+)\s*$", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


def test_the_demo_says_what_happened_and_a_second_one_appends_nothing_twice(
    command: Command, new_database: Callable[..., str]
) -> None:
    url = new_database(migrated=False)
    first = command("demo", url)
    assert (first.returncode, first.stderr) == (0, "")
    with psycopg.connect(url) as connection:
        events, orders = count(connection, "order_events"), count(connection, "orders")
        rejects = connection.execute("SELECT reason, count(*) FROM rejects GROUP BY reason").fetchall()
        by_status = connection.execute("SELECT status, count(*) FROM orders GROUP BY status").fetchall()
    assert orders > 1000
    assert number(first.stdout, "events appended") == events
    assert number(first.stdout, "duplicates") > 0
    assert number(first.stdout, "rejected") == sum(lines for _, lines in rejects) > 0
    for name, lines in [*rejects, *by_status]:
        assert number(first.stdout, name) == lines
    assert "Watermark" in first.stdout
    assert "0 events" in first.stdout  # the lag
    assert "make up" in first.stdout

    second = command("demo", url)
    assert (second.returncode, second.stderr) == (0, "")
    assert number(second.stdout, "events appended") == 0
    assert number(second.stdout, "duplicates") == events + number(first.stdout, "duplicates")
    with psycopg.connect(url) as connection:
        assert (count(connection, "order_events"), count(connection, "orders")) == (events, orders)
        name = connection.info.dbname
    with psycopg.connect(url, dbname=f"{name}_dagster") as dagster:
        runs = dagster.execute("SELECT pipeline_name, status FROM runs").fetchall()
    assert runs == [("ingest_and_refresh", "SUCCESS")] * 2


def count(connection: psycopg.Connection[Any], table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("module", ["demo", "up"])
def test_an_unreachable_database_is_one_clear_line_without_its_password(
    command: Command, module: str
) -> None:
    refused = command(module, "postgresql://somebody:s3cret@127.0.0.1:1/shop")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: cannot connect to postgresql://somebody:***@127.0.0.1:1/shop")
    assert refused.stderr.count("\n") == 1
    assert "s3cret" not in refused.stdout + refused.stderr


def test_a_port_in_use_is_said_before_anything_is_started(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = command("up", "postgresql://nobody@127.0.0.1:1/nowhere", "--port", str(port))
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: port {port} is in use")
    assert not (tmp_path / "home").exists()
