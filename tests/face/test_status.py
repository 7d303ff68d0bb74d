"""eventstore status: is it well, what is wrong, what is to be done; and what heals it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.engine.follow import follower
from eventstore.server.settings import landing
from tests.killing import until
from tests.shipped import as_if_rules_had_changed

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]
SHIPPED = Jsonb([{"type": "OrderShipped", "data": {}}])
POISON = Jsonb([{"type": "OrderPaid", "data": {}}])


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "landing").mkdir()
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))


@pytest.fixture
def well(cli: Cli, connection: Connection) -> None:
    """A store on a good day."""
    connection.execute("SELECT append_events(%s, %s)", (uuid4(), SHIPPED))
    assert cli("refresh").code == 0


def verdicts(cli: Cli) -> dict[str, dict[str, Any]]:
    """Those that are not ok, by code."""
    found = cli("status", "--json").json["verdicts"]
    return {each["code"]: each for each in found if each["level"] != "ok"}


def impatient(connection: Connection, name: str) -> None:
    """A setting of nothing at all, which its constraint does not allow."""
    for (constraint,) in connection.execute(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'settings'::regclass AND contype = 'c' "
        "AND starts_with(conname, %s)",
        (name,),
    ).fetchall():
        connection.execute(f'ALTER TABLE settings DROP CONSTRAINT "{constraint}"')
    connection.execute(f"UPDATE settings SET {name} = '0'")


@pytest.mark.usefixtures("well")
def test_on_a_good_day_every_line_is_ok_and_the_check_passes(cli: Cli) -> None:
    found = cli("status", "--json").json
    assert found["verdict"] == "ok"
    assert verdicts(cli) == {}
    ran = cli("status", "--check")
    assert ran.code == 0
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert {level for level, *_ in lines} == {"ok"}
    assert {"orders", "order_history", "order_snapshots", "rejects", "quarantine", "log"} <= {
        subject for _, _, subject, *_ in lines
    }


def test_a_store_without_events_is_well(cli: Cli) -> None:
    assert cli("status", "--check").code == 0
    assert verdicts(cli) == {}


@pytest.mark.usefixtures("well")
def test_an_order_that_the_rules_fail_on_fails_until_it_can_be_folded(
    cli: Cli, connection: Connection
) -> None:
    connection.execute("SELECT append_events(%s, %s)", (uuid4(), POISON))
    cli("refresh")
    found = verdicts(cli)["quarantine"]
    assert (found["level"], found["next"]) == ("fail", "eventstore quarantine")
    assert found["sentence"].startswith("1 order shows only the events before")
    first = cli("status", "--check")
    assert first.code == 1
    assert first.out.startswith("fail\tquarantine\t")  # the worst comes first


@pytest.mark.usefixtures("well")
def test_rejects_warn_until_somebody_settles_them(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text("nonsense\n")
    cli("ingest", tmp_path / "a.ndjson")
    found = verdicts(cli)["rejects"]
    assert (found["level"], found["next"]) == ("warn", "eventstore rejects")
    assert "1 line waits to be settled: not_json 1" in found["sentence"]
    assert cli("status", "--check").code == 0  # a warning is no failure
    cli("rejects", "discard", "--kind", "not_json", "--reason", "a test", "--yes")
    assert verdicts(cli) == {}


@pytest.mark.usefixtures("well")
def test_a_table_that_nobody_refreshes_warns_then_fails(cli: Cli, connection: Connection) -> None:
    connection.execute("SELECT append_events(%s, %s)", (uuid4(), SHIPPED))
    assert verdicts(cli) == {}
    connection.execute("ALTER TABLE settings DROP CONSTRAINT max_lag_is_between_1_second_and_1_day")
    connection.execute(
        "UPDATE settings SET max_lag = make_interval(secs => (clock_ms() - uuidv7_ms((SELECT id FROM "
        "order_events ORDER BY id DESC LIMIT 1))) / 1000.0) / 2 - interval '1 minute'"  # that of the schedule
    )
    until(lambda: "lag" in verdicts(cli))
    found = verdicts(cli)["lag"]
    assert (found["subject"], found["next"]) == ("orders", "eventstore refresh")
    assert found["sentence"].startswith("1 event behind")
    connection.execute("UPDATE settings SET max_lag = '-1 minute'")
    assert verdicts(cli)["lag"]["level"] == "fail"
    cli("refresh")
    assert verdicts(cli) == {}


@pytest.mark.usefixtures("well")
def test_who_holds_others_up_for_long_fails_with_the_statement_that_ends_it(
    cli: Cli, connection: Connection, database_url: str
) -> None:
    impatient(connection, "max_hold")
    writer = psycopg.connect(database_url, application_name="forgotten")
    writer.execute("SELECT append_events(%s, %s)", (uuid4(), SHIPPED))
    found = verdicts(cli)["holder-overdue"]
    assert "forgotten" in found["sentence"]
    assert found["level"] == "fail"
    connection.execute(found["next"])
    until(lambda: "holder-overdue" not in verdicts(cli))
    cli("refresh")
    assert verdicts(cli) == {}


@pytest.mark.usefixtures("well")
def test_files_that_nobody_reads_warn(cli: Cli, connection: Connection) -> None:
    file = landing() / "old.ndjson"
    file.write_text("")
    os.utime(file, (1, 1))
    assert verdicts(cli) == {}  # it has just arrived
    impatient(connection, "max_file_wait")
    found = verdicts(cli)["landing"]
    assert "old.ndjson" in found["sentence"]
    assert str(landing()) in found["next"]
    assert cli("ingest", landing()).code == 0
    assert verdicts(cli) == {}
    (landing() / "nowhere.ndjson").symlink_to("nothing")
    assert "nowhere.ndjson" in verdicts(cli)["landing-skipped"]["sentence"]


@pytest.mark.usefixtures("well")
def test_old_rules_fail_a_waiting_replay_warns_and_a_promotion_heals(
    cli: Cli, connection: Connection
) -> None:
    as_if_rules_had_changed(connection)
    found = verdicts(cli)["rules-old"]
    assert (found["level"], found["next"]) == ("fail", "eventstore replay --preview")
    assert cli("replay", "--preview").code == 0
    waits = verdicts(cli)
    assert waits.keys() == {"replay-waits"}
    assert waits["replay-waits"]["next"] == "eventstore promote"
    assert "by rules" in waits["replay-waits"]["sentence"]
    assert cli("promote").code == 0
    assert verdicts(cli) == {}


@pytest.mark.usefixtures("well")
def test_two_live_interpretations_warn_and_the_next_command_makes_them_one(
    cli: Cli, connection: Connection
) -> None:
    connection.execute("UPDATE projections SET fold_version = 'before' WHERE name = 'customers'")
    found = verdicts(cli)["two-interpretations"]
    assert "customers by rules before" in found["sentence"]
    assert found["next"] == "eventstore refresh"
    cli("refresh")
    assert verdicts(cli) == {}


@pytest.mark.usefixtures("well")
def test_a_consumer_that_nobody_follows_warns_when_it_is_behind(cli: Cli, connection: Connection) -> None:
    connection.execute("SELECT save_watermark('billing', %s)", (UUID(int=0),))
    impatient(connection, "max_lag")
    found = verdicts(cli)["consumer"]
    assert found["subject"] == "billing"
    assert "nobody follows" in found["sentence"]
    cli("consumers", "delete", "billing", "--yes")
    assert verdicts(cli) == {}


@contextmanager
def follows(connection: Connection) -> Iterator[None]:
    command = [sys.executable, "-c", "from eventstore.face.cli import main; main()", "refresh", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: follower(connection) is not None)
            yield
        finally:
            process.terminate()


@pytest.mark.usefixtures("well")
def test_a_follower_that_runs_is_said(cli: Cli, connection: Connection) -> None:
    with follows(connection):
        codes = [each["code"] for each in cli("status", "--json").json["verdicts"]]
        assert codes.count("follower") == 1
    until(lambda: follower(connection) is None)


def test_details_show_watermarks_and_rules(cli: Cli, connection: Connection) -> None:
    connection.execute("SELECT append_events(%s, %s)", (uuid4(), SHIPPED))
    cli("refresh")
    (newest,) = connection.execute("SELECT id FROM order_events").fetchone() or ("",)
    assert str(newest) not in cli("status").out
    assert str(newest) in cli("status", "--details").out
