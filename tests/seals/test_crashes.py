"""kill -9 between any two steps of sealing: the next run goes on, and everything is sealed once."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.log.connection import Connection
from eventstore.seals import records
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal
from eventstore.seals.verifying import INTACT, verify
from tests.buckets import BUCKETS
from tests.killing import until
from tests.seals.test_sealing import expected_heads, newest

Append = Callable[..., list[UUID]]


@pytest.fixture
def sealer(database_url: str, home: Path) -> Iterator[Callable[[int], str]]:
    """Seals in a process that is killed after so many steps; says whether it came to that."""
    script = Path(__file__).with_name("killed_sealer.py")
    with subprocess.Popen(
        [sys.executable, script, database_url, home],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env=None,
        text=True,
    ) as process:

        def run(steps: int) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield run
        process.kill()


def test_killed_anywhere_it_is_simply_run_again(
    connection: psycopg.Connection[Any],
    session: Connection,
    outside: Outside,
    append: Append,
    sealer: Callable[[int], str],
    home: Path,
) -> None:
    """The first time, with no key yet; then with tiles to fill and two steps to take."""
    steps = 0
    killed = 0
    append(2, 3)
    while (ended := sealer(steps)) == "killed":
        until(lambda: _is_alone(session))
        killed += 1
        steps += 1
    assert ended == "done"
    assert killed > 14 + min(BUCKETS, 16)  # a step for each tree, too
    steps = 0
    while True:
        append(1, 500)
        ended = sealer(steps)
        until(lambda: _is_alone(session))
        if ended == "done":
            break
        steps += 1 + steps // 8  # not each: the beginning is the same as above
        before = {path: path.read_bytes() for path in outside.folder.path.rglob("*.note")}
        assert verify(session, outside, workers=1).verdict == INTACT, steps
        seal(session, outside)
        assert before.items() <= {p: p.read_bytes() for p in outside.folder.path.rglob("*.note")}.items()
    assert list(newest(session).checkpoint.heads) == expected_heads(connection)
    notes = [note for _, note in records.notes(session)]
    copies = sorted((home / "checkpoints" / "epoch-1").rglob("*.note"))
    assert [copy.read_text() for copy in copies] == notes
    assert verify(session, outside).verdict == INTACT
    assert [path.name for path in home.iterdir() if path.name.startswith("seal.key")] == ["seal.key"]


def _is_alone(session: Connection) -> bool:
    """Whether the sessions of killed processes are gone."""
    row = session.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
    ).fetchone()
    return row == (0,)
