"""`eventstore ingest`: one bad file among many keeps no other from being read."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.log.connection import Connection

Cli = Callable[..., Any]


def line() -> str:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": "/tests",
            "type": "OrderPaid",
            "subject": str(uuid4()),
            "data": {"amount": "12.50", "currency": "EUR"},
        }
    )


def test_what_cannot_be_read_in_a_folder_is_reported_at_the_end_when_the_rest_is_in(
    cli: Cli, tmp_path: Path, connection: psycopg.Connection[Any]
) -> None:
    for name in ("a.ndjson", "[bold]\\[red.ndjson", os.fsdecode(b"\xff\n.ndjson")):
        (tmp_path / name).write_text(line())
    (tmp_path / "out.ndjson").symlink_to("/etc/hostname")
    ran = cli("ingest", tmp_path)
    assert ran.code == 1
    assert ran.out.split()[:4] == ["read", "3", "appended", "3"]
    assert ran.err == f"error: not read: {tmp_path}/out.ndjson: a link that leads out of the folder\n"
    ran = cli("ingest", tmp_path, "--json")
    assert (ran.code, ran.json["duplicates"]) == (1, 3)
    assert ran.json["not_read"] == [
        {"file": f"{tmp_path}/out.ndjson", "reason": "a link that leads out of the folder"}
    ]


def test_a_path_that_is_not_there_is_said_before_anything_is_read(
    cli: Cli, tmp_path: Path, connection: Connection
) -> None:
    (tmp_path / "a.ndjson").write_text(line())
    ran = cli("ingest", tmp_path / "a.ndjson", tmp_path / "missing\n.ndjson")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {tmp_path}/missing\\n.ndjson: no such file or folder\n"
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (0,)


def test_rejects_in_a_pipe_are_shown_whole_however_long_the_lines_are(cli: Cli, tmp_path: Path) -> None:
    long = "x" * 150
    (tmp_path / "a.ndjson").write_text(f"{long}\n{line()}\n")
    cli("ingest", tmp_path)
    listed = cli("rejects").out.splitlines()
    assert listed[0].split() == ["id", "file", "line", "reason", "detail", "raw"]
    assert listed[1].endswith(long)
    assert listed[2].split() == ["waiting", "1"]


def test_a_file_that_was_read_and_cannot_be_moved_ends_with_1(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events are in; a script hears that somebody has to lend a hand, each time until it is moved."""
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "done").write_text("no folder")
    file = landing / "a.ndjson"
    file.write_text(f"{line()}\n")
    for appended in (1, 0):
        ran = cli("ingest", file, "--json")
        assert ran.code == 1
        assert ran.json["appended"] == appended
        assert f"read, but not moved: {file}: " in ran.err
    (landing / "done").unlink()
    assert cli("ingest", file).code == 0
    assert not file.exists()


def test_no_two_lines_of_the_status_have_one_name_for_two_things(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))  # copies of seals belong to one database
    file = tmp_path / "a.ndjson"
    file.write_text(f"{line()}\n")
    cli("ingest", file)
    cli("refresh")
    assert cli("seal").code == 0
    subjects = [(each["subject"], each["code"]) for each in cli("status", "--json").json["verdicts"]]
    of_seals = {subject for subject, code in subjects if "seals" in subject}
    assert len(of_seals) == len([subject for subject, _ in subjects if "seals" in subject]) == 2
