"""What was read leaves the landing folder, once, whole, and over nobody's file."""

import errno
import fcntl
import gzip
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventstore.ingestion import contents, landing, leaving, moving
from eventstore.ingestion.done import files_unknown
from eventstore.ingestion.files import look
from eventstore.ingestion.judging import judge_landing
from tests.shipped import FORMATS, files_waiting, ingest, ingest_landing

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]
Drop = Callable[..., Path]


@pytest.fixture
def done(folder: Path) -> Path:
    """Of today. A test that runs at midnight may fail."""
    return folder / "done" / datetime.now(UTC).strftime("%Y-%m-%d")


@pytest.fixture
def other_file_system() -> Iterator[Path]:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev:
        pytest.skip("there is no other file system to write to")
    path = Path(tempfile.mkdtemp(dir=shared))
    yield path
    shutil.rmtree(path)


def names(folder: Path) -> list[str]:
    """All that is in it, hidden names too."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def number_of(connection: Connection, table: str) -> int:
    [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or [0]
    return int(count)


def left(connection: Connection, folder: Path) -> list[str]:
    """What a tick would find to be moved."""
    files = look(folder, FORMATS, settled=True).files
    waiting = {each.found.path for each in landing.waiting(connection, files)}
    read = [found for found in files if found.path not in waiting]
    return [found.path.name for found in contents.to_be_moved(connection, read)]


def test_what_was_read_is_moved_to_the_day_and_what_was_not_stays(
    connection: Connection, folder: Path, done: Path, drop: Drop, event: Make
) -> None:
    line = event()
    drop("a.ndjson", line)
    drop("b.ndjson.gz", gzip.compress(event()))
    drop("nonsense.ndjson", b"nonsense")
    drop(".hidden.ndjson")
    (folder / "written.ndjson").write_bytes(event())
    found = ingest_landing(connection, folder)
    assert (found.appended, found.rejected, found.not_moved) == (2, 1, [])
    assert names(done) == ["a.ndjson", "b.ndjson.gz", "nonsense.ndjson"]
    assert (done / "a.ndjson").read_bytes() == line
    assert names(folder) == [".hidden.ndjson", "done", "written.ndjson"]
    assert found.moved[str(folder / "a.ndjson")] == str(done / "a.ndjson")
    rows = connection.execute("SELECT file, moved_to FROM ingested_files ORDER BY 1").fetchall()
    assert rows == [(str(folder / name), str(done / name)) for name in names(done)]


def test_by_a_setting_files_stay_and_are_not_read_again(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    drop("a.ndjson")
    assert ingest_landing(connection, folder, move=False).appended == 1
    assert ingest_landing(connection, folder, move=False).read == 0
    assert names(folder) == ["a.ndjson"]
    assert ingest_landing(connection, folder).moved  # the setting was changed
    assert names(folder) == ["done"]


def test_a_damaged_file_goes_to_failed_with_the_reason_beside_it(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    damaged = gzip.compress(event() + b"\n" + event())[:-9]
    drop("a.ndjson.gz", damaged)
    drop("good.ndjson")
    assert ingest_landing(connection, folder).rejects_by_reason == {"truncated_gzip": 1}
    failed = folder / "failed"
    assert names(failed) == ["a.ndjson.gz", "a.ndjson.gz.reason.txt"]
    assert (failed / "a.ndjson.gz").read_bytes() == damaged
    said = (failed / "a.ndjson.gz.reason.txt").read_text()
    assert said.startswith(f"{folder}/a.ndjson.gz could not be read whole: truncated_gzip: ")
    drop("a.ndjson.gz", gzip.compress(event())[:-9])  # another one of this name
    (failed / "b.ndjson.gz.reason.txt").write_text("mine")
    drop("b.ndjson.gz", gzip.compress(event())[:-9])
    ingest_landing(connection, folder)
    assert len(names(failed)) == 7
    assert (failed / "b.ndjson.gz.reason.txt").read_text() == "mine"
    assert (failed / "a.ndjson.gz").read_bytes() == damaged


def test_names_never_overwrite_one_another(
    connection: Connection, folder: Path, done: Path, drop: Drop, event: Make
) -> None:
    lines = [event() for _ in range(4)]
    for number, line in enumerate(lines):
        drop("a.b.ndjson", line, ns=10**18 + number)
        ingest_landing(connection, folder)
    (done / "c.ndjson").mkdir()
    (done / "d.ndjson").symlink_to("nowhere")
    drop("c.ndjson", event())
    drop("d.ndjson", event())
    assert ingest_landing(connection, folder).not_moved == []
    found = {path.read_bytes() for path in done.glob("a.b*.ndjson")}
    assert found == set(lines)
    assert [len(list(done.glob(f"{name}.*ndjson"))) for name in "cd"] == [2, 2]
    assert (done / "d.ndjson").is_symlink()


def test_the_longest_names_find_a_place_too(
    connection: Connection, folder: Path, done: Path, drop: Drop, event: Make
) -> None:
    longest = "ü" * 122 + "x" * 4 + ".ndjson"
    assert len(longest.encode()) == 255
    for number in range(3):
        drop(longest, ns=10**18 + number)
        drop("y" * 245 + ".ndjson.gz"[-10:], gzip.compress(event())[:-9], ns=10**18 + number)
        assert ingest_landing(connection, folder).not_moved == []
    assert len(names(done)) == 3
    assert len(names(folder / "failed")) == 6
    assert names(folder) == ["done", "failed"]


def test_the_same_content_is_known_under_any_name_and_is_moved_without_being_read_again(
    connection: Connection, folder: Path, done: Path, drop: Drop, event: Make
) -> None:
    line = event()
    drop("a.ndjson", line)
    ingest_landing(connection, folder)
    drop("copy.ndjson", line, ns=2 * 10**18)
    drop("other.ndjson", event(id="z" * 36))
    found = ingest_landing(connection, folder)
    assert (found.read, found.appended) == (1, 1)
    [said] = found.known
    assert str(folder / "copy.ndjson") in said
    assert str(folder / "a.ndjson") in said
    assert names(done) == ["a.ndjson", "copy.ndjson", "other.ndjson"]
    kept = connection.execute(
        "SELECT read, appended, duplicates FROM ingested_files WHERE file LIKE '%/copy.ndjson'"
    ).fetchall()
    assert kept == [(1, 0, 1)]
    assert number_of(connection, "landing_files") == 0


@pytest.mark.parametrize("by_command", [False, True])
def test_a_file_that_was_put_back_is_moved_again_and_said_so(
    connection: Connection, folder: Path, done: Path, drop: Drop, by_command: bool
) -> None:
    drop("a.ndjson")
    ingest_landing(connection, folder)
    (done / "a.ndjson").rename(folder / "a.ndjson")
    assert files_waiting(connection, folder) == []
    assert left(connection, folder) == ["a.ndjson"]
    found = ingest(connection, [folder], landing=folder) if by_command else ingest_landing(connection, folder)
    assert found.appended == 0
    assert [sentence for sentence in found.known if "was put back" in sentence and str(done) in sentence]
    assert (names(folder), names(done)) == (["done"], ["a.ndjson"])
    shutil.copy2(done / "a.ndjson", folder / "a.ndjson")  # while the first is there: one of them is enough
    ingest_landing(connection, folder)
    assert (names(folder), names(done)) == (["done"], ["a.ndjson"])


def test_other_content_in_the_same_name_size_and_time_is_read_before_it_is_moved(
    connection: Connection, folder: Path, done: Path, drop: Drop, event: Make
) -> None:
    first, second = event(id="a" * 36), event(id="b" * 36)
    assert len(first) == len(second)
    drop("a.ndjson", first)
    ingest_landing(connection, folder)
    drop("a.ndjson", second)
    ingest_landing(connection, folder)
    assert names(folder) == ["a.ndjson", "done"]
    assert files_waiting(connection, folder) == [folder / "a.ndjson"]
    assert ingest_landing(connection, folder).appended == 1
    assert {path.read_bytes() for path in done.iterdir()} == {first, second}
    assert number_of(connection, "order_events") == 2


def test_files_of_an_older_release_stay_where_they_are_also_when_they_are_read_again(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    path = drop("a.ndjson")
    connection.execute(
        "INSERT INTO ingested_files (file, size, modified_ns, read, appended, duplicates, rejected) "
        "VALUES (%s, %s, %s, 1, 1, 0, 0)",
        (str(path), path.stat().st_size, path.stat().st_mtime_ns),
    )
    drop("new.ndjson")
    assert len(ingest_landing(connection, folder).moved) == 1
    assert left(connection, folder) == []
    ingest(connection, [folder], landing=folder)
    assert names(folder) == ["a.ndjson", "done"]


def test_only_what_lies_in_the_landing_folder_is_moved(
    connection: Connection, folder: Path, tmp_path: Path, drop: Drop, event: Make
) -> None:
    mine = tmp_path / "mine.ndjson"
    mine.write_bytes(event())
    (folder / "inner").mkdir()
    inner = drop("inner/a.ndjson")
    (folder / "link.ndjson").symlink_to("inner/a.ndjson")
    os.utime(folder / "inner/a.ndjson", (1, 1))
    found = ingest(connection, [mine, inner, folder], landing=folder)
    assert (found.appended, found.moved) == (2, {})
    assert ingest_landing(connection, folder).moved == {}
    assert names(folder) == ["inner", "link.ndjson"]
    assert left(connection, folder) == []  # no tick asks for a run


def test_a_name_that_is_no_text_is_moved_when_a_command_has_read_it(
    connection: Connection, folder: Path, done: Path, event: Make
) -> None:
    for name in (b"\xff.ndjson", b"\xfe.ndjson"):
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        try:
            path.write_bytes(event())
        except OSError:
            pytest.skip("this file system has no such names")
        os.utime(path, (1, 1))
    ingest(connection, [folder], landing=folder)
    assert sorted(map(os.fsencode, names(done))) == [b"\xfe.ndjson", b"\xff.ndjson"]


def test_what_cannot_be_moved_stays_is_said_and_is_tried_again_after_a_pause(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    (folder / "done").write_text("a file")
    drop("a.ndjson")
    drop("b.ndjson")
    found = ingest_landing(connection, folder)
    assert (found.appended, found.moved) == (2, {})
    assert [Path(each.file).name for each in found.not_moved] == ["a.ndjson", "b.ndjson"]
    assert "done" in found.not_moved[0].reason
    assert names(folder) == ["a.ndjson", "b.ndjson", "done"]
    verdict = judge_landing(connection, folder, FORMATS)
    assert (verdict.code, verdict.level) == ("landing-not-moved", "warn")
    assert "2 files" in verdict.sentence
    assert judge_landing(connection, folder, FORMATS, moves=False).level == "ok"
    assert left(connection, folder) == []
    (folder / "done").unlink()
    connection.execute("UPDATE ingested_files SET move_again_at = now()")
    assert left(connection, folder) == ["a.ndjson", "b.ndjson"]
    assert len(ingest_landing(connection, folder).moved) == 2
    assert judge_landing(connection, folder, FORMATS).level == "ok"


def test_the_command_that_a_verdict_names_can_be_run_as_it_stands(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    (folder / "done").write_text("a file")
    file = drop("it's two words.ndjson")
    ingest_landing(connection, folder)
    command = judge_landing(connection, folder, FORMATS).next
    assert shlex.split(command or "") == ["eventstore", "ingest", str(file)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_keeps_its_files_and_they_are_read(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    drop("a.ndjson")
    folder.chmod(0o555)
    found = ingest_landing(connection, folder)
    folder.chmod(0o755)
    assert (found.appended, len(found.not_moved), names(folder)) == (1, 1, ["a.ndjson"])


def test_done_may_be_on_another_file_system(
    connection: Connection, folder: Path, done: Path, drop: Drop, event: Make, other_file_system: Path
) -> None:
    (folder / "done").symlink_to(other_file_system)
    line = event()
    drop("a.ndjson", line)
    assert ingest_landing(connection, folder).not_moved == []
    assert (names(folder), names(done)) == (["done"], ["a.ndjson"])
    assert (done / "a.ndjson").read_bytes() == line
    assert (done / "a.ndjson").stat().st_mtime_ns == 10**18


def test_a_full_disk_leaves_the_file_where_it_is_and_nothing_half_there(
    connection: Connection,
    folder: Path,
    done: Path,
    drop: Drop,
    other_file_system: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "done").symlink_to(other_file_system)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    drop("a.ndjson")
    [stuck] = ingest_landing(connection, folder).not_moved
    assert "No space left on device" in stuck.reason
    assert (names(folder), names(done)) == (["a.ndjson", "done"], [])


def test_a_file_that_takes_the_name_while_the_other_is_moved_is_not_moved_unread(
    connection: Connection,
    folder: Path,
    drop: Drop,
    event: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A producer delivers anew, under the same name, after the first was read."""
    drop("a.ndjson")
    move = moving.move
    second = event()

    def late(where: Path, files: list[moving.ReadFile]) -> list[moving.Moved]:
        drop(".next", second, ns=3 * 10**18).rename(folder / "a.ndjson")
        return move(where, files)

    monkeypatch.setattr("eventstore.ingestion.leaving.move", late)
    assert ingest_landing(connection, folder).moved == {}
    monkeypatch.undo()
    assert (folder / "a.ndjson").read_bytes() == second
    assert files_waiting(connection, folder) == [folder / "a.ndjson"]
    assert ingest_landing(connection, folder).appended == 1


def killed_at(where: str, url: str, folder: Path) -> int:
    """How a process ended that ingested the folder, and ended itself where it moves ``b.ndjson.gz``."""
    child = os.fork()
    if child == 0:
        try:
            _kill_at(where)
            ingest_landing(url, folder)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_at(where: str) -> None:
    module, name = where.split(".")
    holder: Any = {"leaving": leaving, "moving": moving, "Path": Path}[module]
    original = getattr(holder, name)

    def deadly(*given: Any, **named: Any) -> Any:
        if holder is not Path or "b.ndjson.gz" in str(given[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **named)

    setattr(holder, name, deadly)


@pytest.mark.parametrize(
    "where",
    ["leaving.move", "Path.rename", "moving._is", "moving._reserve", "moving.reason_of", "Path.replace",
     "moving._tidy", "leaving.keep_moves"],
)  # fmt: skip
def test_a_crash_between_commit_and_move_is_healed_by_the_next_tick(
    database_url: str,
    connection: Connection,
    folder: Path,
    done: Path,
    drop: Drop,
    event: Make,
    where: str,
) -> None:
    good, damaged = event(), gzip.compress(event() + b"\n" + event())[:-9]
    drop("a.ndjson", good)
    drop("b.ndjson.gz", damaged)
    assert killed_at(where, database_url, folder) == -signal.SIGKILL
    appended = number_of(connection, "order_events")
    assert appended == 2  # and what was cut off
    if where not in {"leaving.keep_moves", "moving._tidy"}:
        assert left(connection, folder) or moving.is_broken_off(folder)
    ingest_landing(connection, folder)
    assert (names(folder), names(done)) == (["done", "failed"], ["a.ndjson"])
    assert names(folder / "failed") == ["b.ndjson.gz", "b.ndjson.gz.reason.txt"]
    assert (done / "a.ndjson").read_bytes() == good
    assert (folder / "failed" / "b.ndjson.gz").read_bytes() == damaged
    assert "could not be read whole" in (folder / "failed" / "b.ndjson.gz.reason.txt").read_text()
    assert number_of(connection, "order_events") == appended
    assert not moving.is_broken_off(folder)


def test_ingest_by_hand_also_ends_what_was_broken_off_and_what_is_only_a_name_is_no_file(
    connection: Connection, folder: Path, database_url: str, done: Path, drop: Drop
) -> None:
    drop("a.ndjson")
    assert killed_at("moving._bring", database_url, folder) == -signal.SIGKILL
    assert (names(folder / ".moving"), names(done)) == (["a.ndjson"], ["a.ndjson"])
    assert list(files_unknown(connection, folder)) == []
    ingest(connection, [folder], landing=folder)
    assert (names(folder), names(done)) == (["done"], ["a.ndjson"])
    assert list(files_unknown(connection, folder)) == [(1, [])]


def test_a_move_that_is_under_way_is_not_taken_for_one_that_was_broken_off(folder: Path, drop: Drop) -> None:
    (folder / ".moving").mkdir()
    drop(".moving/a.ndjson")
    assert moving.is_broken_off(folder)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    assert not moving.is_broken_off(folder)
    os.close(handle)
    drop("a.ndjson", b"another")
    moving.put_back(folder)
    assert names(folder) == ["a.2.ndjson", "a.ndjson"]
    assert (folder / "a.ndjson").read_bytes() == b"another"


def test_an_ingester_may_do_all_of_this(connection: Connection, folder: Path, done: Path, drop: Drop) -> None:
    drop("a.ndjson")
    connection.execute("SET ROLE eventstore_ingester")
    assert len(ingest_landing(connection, folder).moved) == 1
    shutil.copy2(done / "a.ndjson", folder)
    assert len(ingest_landing(connection, folder).known) == 1
    connection.execute("SET ROLE eventstore_reader")
    assert judge_landing(connection, folder, FORMATS).level == "ok"
    connection.execute("RESET ROLE")
