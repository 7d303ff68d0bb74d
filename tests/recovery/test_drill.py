"""The worst night, as a drill: the data is destroyed in the middle of a load, and all of it comes back."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.log import feed
from eventstore.log.connection import open_connection
from eventstore.log.consumers import accept_epoch, subscribe
from eventstore.log.errors import EpochError
from eventstore.log.position import START
from eventstore.server import embedded
from tests.log.standbys import Server, eventually
from tests.recovery.test_recovery import archiving, until_received
from tests.robustness.everything import run


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The home of the server, and another one."""
    folder = Path(mkdtemp(prefix="drill-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    homes = folder / "first", folder / "second"
    monkeypatch.setenv("EVENTSTORE_HOME", str(homes[0]))
    yield homes
    for home in homes:
        embedded.stop(home)
    shutil.rmtree(folder, ignore_errors=True)


def write_file(path: Path, orders: int) -> int:
    """A file of events, each with an identity of its own; how many."""
    lines = [
        {
            "specversion": "1.0",
            "id": f"{path.stem}/{number}/{version}",
            "source": "/drill",
            "type": "OrderPaid",
            "subject": str(UUID(int=number + 1)),
            "time": "2026-03-03T12:00:00Z",
            "data": {"amount": "1.00", "currency": "EUR"},
        }
        for version in range(5)
        for number in range(orders)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return len(lines)


def identities(url: str) -> Counter[Any]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT order_id, source, source_id FROM order_events")
        return Counter(row for row in rows if row[1] is not None)


def count(url: str) -> int:
    with psycopg.connect(url) as connection:
        (events,) = connection.execute("SELECT count(*) FROM order_events").fetchone() or (0,)
    return int(events)


def ids(url: str) -> set[UUID]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM order_events")}


def test_no_event_is_missing_that_was_archived_and_none_is_there_twice(
    homes: tuple[Path, Path], tmp_path: Path
) -> None:
    home, other_home = homes
    files, backups = tmp_path / "files", tmp_path / "backups"
    files.mkdir()
    first, second = write_file(files / "a.ndjson", 500), write_file(files / "b.ndjson", 10_000)

    # Fill, back up, go on.
    assert run("", "init").code == 0
    assert run("", "ingest", files / "a.ndjson").code == 0
    url = embedded.start(home)
    assert run("", "backup", "--to", backups).code == 0
    with open_connection(url) as connection:
        given = feed.read_page(connection, START, 1000)
        list(subscribe(connection, "billing", follow=False, limit=1000))
    with archiving(url, backups):
        until_received(url)
        moment = datetime.now(UTC)

        # Destroyed in the middle of a load.
        load = [sys.executable, "-c", "from eventstore.face.cli import main; main()", "ingest"]
        command: list[str | Path] = [*load, files / "b.ndjson"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as loading:
            eventually(lambda: count(url) > first)
            loading.send_signal(signal.SIGSTOP)
            before = ids(url)
            until_received(url)
            loading.send_signal(signal.SIGCONT)
            Server(home).kill()
            shutil.rmtree(home / "postgres")
            assert loading.wait(60) == 1
    assert run("", "status").code == 1

    # Elsewhere, as it was at a moment.
    at = ("--to", moment.isoformat())
    restored = run("", "restore", "--from", backups, *at, "--into", other_home, "--json")
    assert json.loads(restored.out)["events"] == first
    # In its place, all of it.
    restored = run("", "restore", "--from", backups, "--reason", "a drill", "--json")
    assert restored.code == 0, restored
    answer = json.loads(restored.out)
    assert run("", "restore", "--from", backups).code == 1
    url = embedded.start(home)
    after = ids(url)
    assert before <= after
    assert len(after) == answer["events"]
    assert answer["epoch"] == 2

    assert run("", "check").code == 0

    # Followers go on, or are told.
    with open_connection(url) as connection:
        assert feed.read_page(connection, given.position, 10).position.epoch == 2
        with pytest.raises(EpochError, match="a drill"):
            next(subscribe(connection, "billing"))
        accept_epoch(connection, "billing")
        next(subscribe(connection, "billing"))

    # The same files again, and new events.
    order = uuid4()
    appended = run("", "append", order, "OrderPaid", '{"amount": "1.00", "currency": "EUR"}', "--json")
    assert UUID(json.loads(appended.out)["id"]) > max(after)
    assert run("", "ingest", files / "a.ndjson", files / "b.ndjson").code == 0
    found = identities(url)
    assert len(found) == first + second
    assert set(found.values()) == {1}
    assert run("", "refresh").code == 0
    assert run("", "check", "--all").code == 0


def test_without_a_backup_there_is_nothing_to_restore(homes: tuple[Path, Path], tmp_path: Path) -> None:
    for arguments, said in (
        (("restore",), "EVENTSTORE_BACKUPS"),
        (("restore", "--from", tmp_path / "nowhere"), "no base backup"),
        (("restore", "--from", tmp_path, "--to", "yesterdayish"), "is not a time"),
        (("restore", "--from", tmp_path, "--to", datetime.now(UTC) + timedelta(days=1)), "has not come yet"),
        (("restore", "--from", tmp_path, "--into", "mysql://x/y"), "PostgreSQL"),
        (("restore", "--from", tmp_path, "--into", "postgresql://h/db", "--to", "2020-01-01"), "a dump"),
        (("backup",), "EVENTSTORE_BACKUPS"),
    ):
        ran = run("", *arguments)
        assert ran.code in {1, 2}, arguments
        assert said in ran.err, (arguments, ran.err)
