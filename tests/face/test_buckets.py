"""A store of any number of buckets, from `init` to a restored dump, and what is said of another number."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventstore.orders.sample import write_sample
from eventstore.server import embedded
from eventstore.server.cluster import VERSION, program
from tests.shipped import upgrade

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("EVENTSTORE_BUCKETS", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.mark.parametrize("number", [1, 32])
def test_the_whole_life_of_a_store(
    cli: Cli, number: int, tmp_path: Path, database_url: str, new_database: Callable[..., str]
) -> None:
    made = cli("init", "--buckets", number, "--json")
    assert made.json["buckets"] == number
    assert f"write buckets = {number} into" in made.err
    files = write_sample(tmp_path, orders=150)
    assert cli("ingest", *files).code == 0
    assert cli("refresh").code == 0
    replayed = cli("replay", "--json").json
    assert (replayed["added"], replayed["changed"], replayed["gone"]) == (0, 0, 0)
    assert cli("replay", "--preview", "--workers", min(2, number)).code == 0
    assert cli("promote").code == 0
    assert cli("seal").code == 0
    verified = cli("verify", "--json").json
    assert (verified["verdict"], verified["unsealed"]) == ("intact", 0)
    with psycopg.connect(database_url) as connection:
        (event_id,) = connection.execute("SELECT id FROM order_events ORDER BY id LIMIT 1").fetchone() or (
            None,
        )
        rows = "SELECT count(*), min(order_id::text), sum(amount) FROM orders"
        orders = connection.execute(rows).fetchone()
        server = connection.info.server_version // 10_000
    proof = tmp_path / "proof.json"
    assert cli("prove", event_id, "--output", proof).code == 0
    assert cli("verify-proof", proof).code == 0
    assert cli("rebuild").code == 0
    checked = cli("check")
    assert checked.code == 0, checked.out
    again = cli("init", "--json").json
    assert again["buckets"] == number  # a second person says nothing
    refused = cli("init", "--buckets", 2)
    assert refused.code == 1
    assert f"the log has {number} buckets and events" in refused.err

    restored = new_database(migrated=False)
    dump = tmp_path / "dump"
    subprocess.run([str(program("pg_dump")), "-Fc", "-f", str(dump), database_url], check=True)
    # A server that is older than these programs does not know all settings: an error, and no harm.
    strict = ["--exit-on-error"] if server >= int(VERSION) else []
    subprocess.run([str(program("pg_restore")), *strict, "-d", restored, str(dump)], check=bool(strict))
    upgrade(restored)
    with psycopg.connect(restored) as connection:
        assert connection.execute("SELECT log_buckets()").fetchone() == (number,)
        assert connection.execute(rows).fetchone() == orders


def test_the_setting_is_followed_where_nothing_else_is_said(cli: Cli, home: Path) -> None:
    (home / "eventstore.toml").write_text("buckets = 8")
    made = cli("init", "--json")
    assert (made.json["buckets"], made.err) == (8, "")
    assert cli("init", "--buckets", 4, "--json").json["buckets"] == 4


def test_a_variable_wins_over_the_file(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "eventstore.toml").write_text("buckets = 8")
    monkeypatch.setenv("EVENTSTORE_BUCKETS", "2")
    assert cli("init", "--json").json["buckets"] == 2


@pytest.mark.parametrize("number", ["3", "0", "512", "-2", "many", "1e1", "9" * 5000])
def test_other_numbers_are_refused_in_one_line(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    assert cli("init", f"--buckets={number}").code == 2
    monkeypatch.setenv("EVENTSTORE_BUCKETS", number)
    refused = cli("init")
    assert refused.code == 1
    assert refused.err.count("\n") == 1
    assert "EVENTSTORE_BUCKETS cannot be" in refused.err
    monkeypatch.delenv("EVENTSTORE_BUCKETS")
    (home / "eventstore.toml").write_text("buckets = 12")
    refused = cli("init")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "12 cannot be: give a power of two from 1 to 256" in refused.err


def test_buckets_and_workers_beyond_the_log_are_refused(cli: Cli) -> None:
    cli("init", "--buckets", 4)
    assert "there is no bucket 4: the log has 4" in cli("replay", "--bucket", 4).err.replace("\n│ ", " ")
    assert cli("replay", "--workers", 5).code == 2
    assert cli("replay", "--bucket", 3).code == 0


def test_the_embedded_server_has_room_for_their_locks_when_init_has_ended(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    (home / "eventstore.toml").write_text("buckets = 32")
    try:
        made = cli("init")
        assert (made.code, made.err) == (0, "")
        with psycopg.connect(embedded.start(home)) as connection:
            assert connection.execute("SHOW max_locks_per_transaction").fetchone() == ("128",)
            assert connection.execute("SELECT log_buckets()").fetchone() == (32,)
    finally:
        embedded.stop(home)
