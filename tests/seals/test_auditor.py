"""The auditor's page is run as it stands, and another implementation of the tree agrees."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pymerkle import InmemoryTree

from eventstore.log.connection import Connection
from eventstore.seals.outside import Outside
from eventstore.seals.proving import sealed_checkpoint
from eventstore.seals.sealing import seal
from tests.buckets import part
from tests.seals.canonical import leaf_text
from tests.seals.events import append_orders
from tests.seals.tampering import altering, rewrite_tiles

Append = Callable[..., list[UUID]]

_PAGE = Path(__file__).parents[2] / "docs" / "auditing.md"


def audit(folder: Path, url: str, options: str = "") -> subprocess.CompletedProcess[str]:
    """Run what the page says, in a folder with a checkpoint and a key."""
    for program in ("psql", "openssl", "diff", "base64"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}, as the auditor does")
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", _PAGE.read_text(), re.DOTALL | re.MULTILINE))
    assert script.count("psql") == 1
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url, "PGOPTIONS": options},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def visit(session: Connection, outside: Outside, append: Append, tmp_path: Path) -> Path:
    """What the auditor took along from a visit; the log has grown since."""
    append(1, 700)
    append(25, 9)
    seal(session, outside)
    folder = tmp_path / "auditor"
    folder.mkdir()
    key = outside.signing_key()
    assert key is not None
    (folder / "key.txt").write_text(f"{key.verifier}\n")
    (folder / "checkpoint.note").write_bytes(
        (outside.folder.path / "epoch-1" / "000000" / "000000001.note").read_bytes()
    )
    append(30, 3)
    seal(session, outside)
    append(2)
    return folder


def test_the_page_proves_a_log_that_nobody_changed(visit: Path, database_url: str) -> None:
    done = audit(visit, database_url)
    assert done.returncode == 0, done.stderr
    assert "Signature Verified Successfully" in done.stdout
    assert "The log is what was sealed." in done.stdout


def test_no_setting_of_the_auditors_session_changes_what_comes_out(visit: Path, database_url: str) -> None:
    settings = ("bytea_output=escape", "DateStyle=German", "TimeZone=Asia/Kathmandu", "extra_float_digits=-3")
    done = audit(visit, database_url, " ".join(f"-c {setting}" for setting in settings))
    assert done.returncode == 0, done.stderr


def test_a_log_with_empty_buckets_is_proven_too(
    session: Connection, outside: Outside, append: Append, tmp_path: Path, database_url: str
) -> None:
    append(1, 3)
    seal(session, outside)
    key = outside.signing_key()
    assert key is not None
    (tmp_path / "key.txt").write_text(f"{key.verifier}\n")
    (tmp_path / "checkpoint.note").write_text(sealed_checkpoint(session).written)
    done = audit(tmp_path, database_url)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE order_events SET created_at = created_at + 1 WHERE id = '{id}'",
        "DELETE FROM order_events WHERE id = '{id}'",
        "UPDATE order_events SET metadata = '{{\"a\": 1}}' WHERE id = '{id}'",
    ],
)
def test_the_page_finds_a_change_whatever_was_done_to_our_tables(
    visit: Path, session: Connection, database_url: str, change: str
) -> None:
    (id_,) = session.execute("SELECT id FROM order_events ORDER BY id OFFSET 300 LIMIT 1").fetchone() or ("",)
    with altering(session):
        session.execute(change.format(id=id_))
        rewrite_tiles(session)
    done = audit(visit, database_url)
    assert done.returncode != 0
    assert "The log is what was sealed." not in done.stdout


def test_the_page_refuses_a_checkpoint_that_was_changed(visit: Path, database_url: str) -> None:
    note = visit / "checkpoint.note"
    note.write_text(note.read_text().replace("checkpoint 1", "checkpoint 2"))
    done = audit(visit, database_url)
    assert done.returncode != 0
    assert "Successfully" not in done.stdout


def test_another_implementation_of_the_tree_agrees(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside
) -> None:
    append_orders(connection, 1, 600)
    append_orders(connection, 40, 6)
    seal(session, outside)
    for bucket, head in enumerate(sealed_checkpoint(session).checkpoint.heads):
        rows = connection.execute(
            "SELECT id, order_id, version, event_type, event_data::text, created_at, source, source_id, "
            f"metadata::text FROM {part('order_events', bucket)} ORDER BY id"
        ).fetchall()
        tree = InmemoryTree(algorithm="sha256")
        for row in rows:
            tree.append_entry(leaf_text(row).encode())
        assert (len(rows), tree.get_root()) == (head.size, head.root)
