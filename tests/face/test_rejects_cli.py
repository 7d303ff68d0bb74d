"""eventstore rejects: see them, try them again, settle them; at 80 columns and in a pipe."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]
SECRET = "the customer's address"


@pytest.fixture
def ids(cli: Cli, tmp_path: Path) -> list[int]:
    """Two rejects of different reasons."""
    strange: dict[str, object] = {
        "specversion": "1.0",
        "id": "1",
        "source": "/tests",
        "type": "OrderTeleported",
    }
    strange |= {"subject": str(uuid4()), "data": {"to": SECRET}}
    (tmp_path / "a_file.ndjson").write_text(f"nonsense {SECRET}\n{json.dumps(strange)}\n")
    assert cli("ingest", tmp_path).code == 0
    return [reject["id"] for reject in cli("rejects", "--json").json["rejects"]]


def in_a_terminal(database_url: str, *arguments: object) -> str:
    """What a person sees in a terminal of 80 columns, without colours."""
    parent, child = pty.openpty()
    command = [sys.executable, "-c", "from eventstore.face.cli import main; main()", *map(str, arguments)]
    environment = os.environ | {"DATABASE_URL": database_url, "COLUMNS": "80", "LINES": "40"}
    with subprocess.Popen(command, stdout=child, stderr=child, stdin=child, env=environment):
        os.close(child)
        seen = b""
        try:
            while some := os.read(parent, 4096):
                seen += some
        except OSError:  # the other side has closed it
            pass
    os.close(parent)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).replace("\r\n", "\n")


def test_one_is_shown_without_its_line_and_with_it_on_request(cli: Cli, ids: list[int]) -> None:
    shown = cli("rejects", "show", ids[0])
    assert "a_file.ndjson" in shown.out
    assert "not_json" in shown.out
    assert SECRET not in shown.out
    assert cli("rejects", "show", ids[0], "--json").json["reason"] == "not_json"
    assert "raw" not in cli("rejects", "show", ids[0], "--json").json
    assert SECRET in cli("rejects", "show", ids[1], "--raw", "--json").json["raw"]
    missing = cli("rejects", "show", 10**9)
    assert (missing.code, missing.out) == (2, "")
    assert "there is no reject 1000000000" in missing.err


def test_the_line_itself_goes_into_a_pipe_byte_for_byte(ids: list[int], database_url: str) -> None:
    command = [sys.executable, "-c", "from eventstore.face.cli import main; main()"]
    ran = subprocess.run(
        [*command, "rejects", "show", str(ids[0]), "--raw"],
        env=os.environ | {"DATABASE_URL": database_url},
        capture_output=True,
        check=True,
    )
    assert ran.stdout == f"nonsense {SECRET}\n".encode()


def test_discarding_needs_a_reason_and_says_by_whom(cli: Cli, ids: list[int], connection: Connection) -> None:
    for wrong in (
        ("discard", ids[0]),
        ("discard", "--reason", "no"),
        ("discard", ids[0], "--kind", "x", "--reason", "no"),
    ):
        assert cli("rejects", *wrong).code == 2
    assert len(cli("rejects", "--json").json["rejects"]) == 2
    assert cli("rejects", "discard", ids[0], "--reason", "a test").out == "discarded 1 line\n"
    again = cli("rejects", "discard", ids[0], 10**9, "--reason", "a test")
    assert (again.code, again.out) == (1, f"discarded 0 lines\nsettled before: {ids[0]}\n")
    assert "there is no reject 1000000000" in again.err
    [left] = cli("rejects", "--json").json["rejects"]
    assert left["id"] == ids[1]
    [kept] = cli("rejects", "--discarded", "--json").json["rejects"]
    (role,) = connection.execute("SELECT current_user").fetchone() or ("",)
    assert (kept["id"], kept["discard_reason"]) == (ids[0], "a test")
    assert f"(role {role})" in kept["discarded_by"]


def test_all_of_one_kind_are_discarded_after_a_question(cli: Cli, ids: list[int]) -> None:
    refused = cli("rejects", "discard", "--kind", "unknown_type", "--reason", "no")
    assert refused.code == 1  # nobody answers
    done = cli("rejects", "discard", "--kind", "unknown_type", "--reason", "no", "--yes", "--json").json
    assert done == {"ids": [ids[1]], "settled_before": [], "unknown": []}
    assert cli("rejects", "--json").json["by_reason"] == {"not_json": 1}


@pytest.mark.usefixtures("ids")
def test_the_list_reads_well_at_80_columns(database_url: str) -> None:
    lines = in_a_terminal(database_url, "rejects").splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert re.fullmatch(r" +\d+  a_file\.ndjson:1  not_json", lines[0])
    assert SECRET not in "".join(lines)
    assert "waiting" in lines[-4]


def test_the_list_in_a_pipe_is_a_line_each(cli: Cli, ids: list[int]) -> None:
    head, first, second, *_ = cli("rejects").out.splitlines()
    assert head.split("\t") == ["id", "file", "line", "reason", "detail", "raw"]
    assert [line.split("\t")[0] for line in (first, second)] == list(map(str, ids))


def test_one_alone_is_tried_again(cli: Cli, ids: list[int]) -> None:
    assert cli("rejects", "retry", ids[0], "--json").json["read"] == 1
    assert cli("rejects", "retry", "--json").json["read"] == 2
