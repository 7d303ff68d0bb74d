"""seal, verify, prove and seal-key, as a user types them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from tests.face.conftest import Ran
from tests.seals.events import append_orders
from tests.seals.tampering import altering

Cli = Callable[..., Ran]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))
    for name in ("EVENTSTORE_SEAL_KEY", "EVENTSTORE_TSA_URL", "EVENTSTORE_TSA_CERTIFICATES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def events(connection: psycopg.Connection[Any], home: Path) -> list[UUID]:
    """The ids of twenty events."""
    assert not home.exists()
    append_orders(connection, 4, 5)
    return [row[0] for row in connection.execute("SELECT id FROM order_events ORDER BY id")]


def test_a_log_is_sealed_and_verified(cli: Cli, events: list[UUID]) -> None:
    assert cli("verify").code == 2
    sealed = cli("seal", "--json").json
    assert (sealed["events"], sealed["size"], sealed["checkpoint"]) == (20, 20, 1)
    assert cli("seal").code == 0
    found = cli("verify", "--json")
    assert found.code == 0
    assert {name: found.json[name] for name in ("verdict", "verified", "sealed", "unsealed", "problems")} == {
        "verdict": "intact",
        "verified": len(events),
        "sealed": 20,
        "unsealed": 0,
        "problems": [],
    }
    assert "intact" in cli("verify").out


def test_an_altered_event_is_named_and_the_exit_code_says_it(
    cli: Cli, events: list[UUID], connection: psycopg.Connection[Any]
) -> None:
    cli("seal")
    with altering(connection):
        connection.execute("UPDATE order_events SET created_at = 1 WHERE id = %s", (events[3],))
    order_id, version = connection.execute(
        "SELECT order_id, version FROM order_events WHERE id = %s", (events[3],)
    ).fetchone() or (None, None)
    found = cli("verify", "--json")
    assert found.code == 1
    problems: Any = found.json["problems"]
    [problem] = problems
    named = {name: problem[name] for name in ("kind", "id", "order_id", "version")}
    assert named == {"kind": "altered", "id": str(events[3]), "order_id": str(order_id), "version": version}
    told = cli("verify")
    assert told.code == 1
    assert str(events[3]) in told.out
    assert told.err.startswith("error: 1 problem")
    assert cli("verify", "--share").code == 1
    assert "NOT INTACT" in cli("status").out


def test_verify_takes_a_kept_checkpoint_a_key_and_a_beginning(
    cli: Cli, events: list[UUID], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("seal")
    key = str(cli("seal-key", "--json").json["key"])
    kept = tmp_path / "kept"
    kept.write_bytes((home / "checkpoints" / "epoch-1" / "000000" / "000000001.note").read_bytes())
    for since in ("1 hour ago", "2020-01-01", "1"):
        assert cli("verify", "--since", since).code == 0, since
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "elsewhere"))
    assert cli("verify").code == 2
    assert cli("verify", "--key", key).code == 2
    assert cli("verify", "--key", key, "--against", kept).code == 0
    assert events


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "--against", "nowhere"), "nowhere"),
        (("verify", "--key", "mallory"), "public key"),
        (("verify", "--since", "soon"), "is not a time"),
        (("verify", "--since", "77"), "no checkpoint 77"),
        (("verify", "--share", "--since", "1"), "--share goes with none"),
        (("prove", "x"), "no id of an event"),
        (("prove", str(uuid4())), "no event"),
        (("prove", str(uuid4()), "--checkpoint", "9"), "no checkpoint 9"),
        (("prove", str(uuid4()), "--all"), "--all goes with no event"),
        (("prove", "--version", "1"), "--version, --checkpoint and --output"),
        (("prove-consistency", "9"), "no checkpoint 9"),
        (("prove-consistency", "nowhere"), "nowhere"),
        (("verify-proof", "nowhere"), "nowhere"),
        (("seal-key", "--lost", "x"), "is not lost"),
    ],
)
@pytest.mark.usefixtures("events")
def test_a_mistake_is_one_line(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    cli("seal")
    done = cli(*arguments)
    assert done.code in (1, 2)
    assert done.code == 2 or not arguments[0].startswith("verify")
    assert words in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_a_database_that_is_away_proves_nothing(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventstore.face.store.database_url", lambda: "postgresql://127.0.0.1:1/nowhere")
    done = cli("verify")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert not home.exists()


@pytest.mark.usefixtures("events")
def test_a_proof_of_an_event_is_checked_without_a_database(
    cli: Cli, events: list[UUID], connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    cli("seal")
    key = str(cli("seal-key", "--json").json["key"])
    proof = tmp_path / "proof.json"
    assert cli("prove", events[7], "--output", proof).code == 0
    assert proof.read_text() == cli("prove", events[7]).out
    order_id, version = connection.execute(
        "SELECT order_id, version FROM order_events WHERE id = %s", (events[7],)
    ).fetchone() or (None, None)
    assert proof.read_text() == cli("prove", order_id, "--version", version).out
    assert "has no version 99" in cli("prove", order_id, "--version", 99).err
    assert cli("verify-proof", proof).code == 0
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from eventstore.face.cli import main; main()",
            "verify-proof",
            proof,
            "--key",
            key,
        ],
        env={"DATABASE_URL": "postgresql://127.0.0.1:1/nowhere", "EVENTSTORE_HOME": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(events[7]) in done.stdout
    assert not (tmp_path / "none").exists()
    proof.write_text(proof.read_text().replace(str(events[7]), str(events[8])))
    assert cli("verify-proof", proof).code == 1
    proof.write_bytes(b"\xff\x00")
    assert cli("verify-proof", proof).code == 2


def test_that_the_log_only_grew_is_proven_between_two_checkpoints(
    cli: Cli, events: list[UUID], connection: psycopg.Connection[Any], tmp_path: Path, home: Path
) -> None:
    for _ in range(3):
        cli("seal")
        append_orders(connection, 2, 2)
    proof = tmp_path / "growth.json"
    assert cli("prove-consistency", 1, "--output", proof).code == 0
    found = cli("verify-proof", proof, "--json")
    assert found.code == 0
    assert "only grew" in str(found.json["reason"])
    note = home / "checkpoints" / "epoch-1" / "000000" / "000000001.note"
    assert cli("prove-consistency", note, 2, "--json").code == 0
    assert cli("verify-proof", proof, "--key", cli("seal-key", "--json").json["key"]).code == 0
    assert events


@pytest.mark.usefixtures("events")
def test_the_public_key_is_printed_and_replaced(cli: Cli, home: Path) -> None:
    assert cli("seal-key").code == 1
    cli("seal")
    before = cli("seal-key", "--json").json["key"]
    changed = cli("seal-key", "--change", "--json").json
    assert changed["replaces"] == before
    assert cli("seal-key", "--json").json["key"] == changed["key"]
    assert cli("verify").code == 0
    secret = (home / "seal.key").read_text().strip()
    for arguments in (("seal-key",), ("seal", "--json"), ("verify", "--json"), ("status", "--json")):
        done = cli(*arguments)
        assert secret[-20:] not in done.out + done.err


@pytest.mark.usefixtures("events")
def test_the_status_has_a_line_for_the_seals(cli: Cli) -> None:
    assert "none: run `eventstore seal`" in cli("status").out
    cli("seal")
    assert "20 events up to" in cli("status").out
    assert "never verified" in cli("status").out
    assert cli("verify", "--share").code == 0
    assert "all verified by" in cli("status").out
    seals: Any = cli("status", "--json").json["seals"]
    assert (seals["sealed"], seals["unsealed"], seals["checkpoint"]) == (20, 0, 1)
