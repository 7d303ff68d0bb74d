"""A landing folder in which anything may lie: the reach of a file is its file."""

import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.ingestion import chunks, landing, lines, load
from eventstore.ingestion.files import MAX_PATH, InputFileError, look, printable
from eventstore.ingestion.formats.cloudevents import CloudEvents
from eventstore.ingestion.staging import Settled
from eventstore.kernel.incoming import Line, Proposed
from tests.shipped import EVENTS, FORMATS, files_waiting, ingest, ingest_landing, take

Connection = psycopg.Connection[Any]
Make = Callable[..., bytes]
Drop = Callable[..., Path]


def number_of(connection: Connection, table: str) -> int:
    [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or [0]
    return int(count)


def attempts(connection: Connection) -> list[tuple[str, int, str | None]]:
    rows = connection.execute("SELECT file, attempts, last_error FROM landing_files ORDER BY file")
    return [(Path(file).name, number, error) for file, number, error in rows]


def pause_is_over(connection: Connection) -> None:
    connection.execute("UPDATE landing_files SET next_try_at = now()")


def claims_lapse(connection: Connection) -> None:
    connection.execute("UPDATE landing_files SET claimed_until = now()")


class Breaking(CloudEvents):
    """To read a record with this in it raises an error that nobody foresaw."""

    def __init__(self, what: bytes, error: Exception) -> None:
        self._what, self._error = what, error

    def propose(self, record: Line) -> Proposed:
        if self._what in record.raw:
            raise self._error
        return super().propose(record)


def test_whatever_lies_in_the_folder_the_good_files_beside_it_are_read(
    connection: Connection, folder: Path, tmp_path: Path, drop: Drop, event: Make
) -> None:
    (tmp_path / "outside.ndjson").write_bytes(event())
    (folder / "inner").mkdir()
    (folder / "inner" / "deep.ndjson").write_bytes(event())
    os.utime(folder / "inner" / "deep.ndjson", (1, 1))
    good = {
        drop("a.ndjson"),
        drop("-rf.ndjson"),
        drop("new\nline.ndjson"),
        drop("\x1b[31mred\u202e.ndjson"),
        drop("[bold]\\[red.ndjson"),
        drop("x" * 248 + ".ndjson"),
        drop("bücher %s 'quoted' \".ndjson"),
        drop("empty.ndjson", b""),
        drop("zzz.ndjson.GZ", gzip.compress(event())),
        drop("damaged.ndjson.gz", gzip.compress(event() * 100)[:-30]),
        drop("before1970.ndjson", ns=-(10**18)),
        drop("year2262.ndjson", ns=2**63 - 1),
        drop("later.ndjson", ns=2**63 + 10**18),
    }
    (folder / "link.ndjson").symlink_to(folder / "inner" / "deep.ndjson")
    good.add(folder / "link.ndjson")
    (folder / "out.ndjson").symlink_to(tmp_path / "outside.ndjson")
    (folder / "out2.ndjson").symlink_to("../outside.ndjson")
    (folder / "aside.ndjson").symlink_to(tmp_path / "landing2.ndjson")
    (tmp_path / "landing2.ndjson").write_bytes(event())
    (folder / "dangling.ndjson").symlink_to(folder / "nothing")
    (folder / "loop.ndjson").symlink_to(folder / "loop.ndjson")
    (folder / "folder.ndjson").mkdir()
    os.mkfifo(folder / "pipe.ndjson")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket is short
        try:
            listener.bind("socket.ndjson")
        finally:
            os.chdir(here)
    no_utf8 = os.fsdecode(os.fsencode(folder) + b"/\xff\xed\xa0\x80.ndjson")
    Path(no_utf8).write_bytes(event())

    done = ingest_landing(connection, folder)
    assert {file.file for file in done.files} == {str(path) for path in good}
    assert done.failed == []
    reasons = {Path(each.file).name: each.reason for each in done.skipped}
    assert reasons == {
        "out.ndjson": "a link that leads out of the folder",
        "out2.ndjson": "a link that leads out of the folder",
        "aside.ndjson": "a link that leads out of the folder",
        "dangling.ndjson": "a link that leads nowhere",
        "loop.ndjson": "Too many levels of symbolic links",
        "folder.ndjson": "a folder",
        "pipe.ndjson": "not a regular file",
        "socket.ndjson": "not a regular file",
        r"\xff\xed\xa0\x80.ndjson": "its name is not UTF-8",
    }
    assert number_of(connection, "ingested_files") == len(good)
    assert number_of(connection, "landing_files") == 0
    again = ingest_landing(connection, folder)
    assert (again.read, again.files, again.failed) == (0, [], [])
    assert again.skipped == done.skipped


def test_a_path_that_no_index_could_hold_is_left_alone(
    connection: Connection, tmp_path: Path, event: Make
) -> None:
    deep = tmp_path
    while len(str(deep)) < MAX_PATH - 120:
        deep /= "d" * 100
    deep /= "e" * (MAX_PATH - len(str(deep)) - 15)
    deep.mkdir(parents=True)
    for name in ("a.ndjson", "longer_by_some.ndjson"):
        (deep / name).write_bytes(event())
        os.utime(deep / name, (1, 1))
    done = ingest_landing(connection, deep)
    assert [Path(file.file).name for file in done.files] == ["a.ndjson"]
    assert [each.reason for each in done.skipped] == [f"its path has more than {MAX_PATH} bytes"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a.ndjson", "a.ndjson"), ("a\nb", r"a\nb"), ("\x1b[0m", r"\x1b[0m"), ("\u202e", r"\u202e"),
     ("\udcff", r"\xff"), ("größe 💰", "größe 💰")],
)  # fmt: skip
def test_names_are_shown_on_one_line_and_without_what_cannot_be_seen(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_file_that_became_a_link_out_of_the_folder_after_the_look_is_not_read(
    connection: Connection, folder: Path, tmp_path: Path, drop: Drop, event: Make
) -> None:
    (tmp_path / "outside.ndjson").write_bytes(event())
    path = drop("a.ndjson")
    drop("b.ndjson")
    claim, _ = take(connection, folder)
    path.unlink()
    path.symlink_to(tmp_path / "outside.ndjson")
    with load._Load(connection, EVENTS, None, claim) as reading:
        reading.read(landing.begin(connection, claim, claim.together))
    done = reading.result([], 0)
    assert [file.file for file in done.files] == [str(folder / "b.ndjson")]
    assert [Path(each.file).name for each in done.failed] == ["a.ndjson"]
    assert number_of(connection, "order_events") == 1


def test_files_that_vanish_or_change_after_the_look_stop_nothing_and_count_for_nothing(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    gone, written, renamed = drop("gone.ndjson"), drop("written.ndjson"), drop("renamed.ndjson")
    drop("good.ndjson")
    claim, _ = take(connection, folder)
    gone.unlink()
    written.write_bytes(event() + b"\n" + event()[:50])  # just now
    drop("other", event() + b"\n" + event(), ns=2 * 10**18).rename(renamed)
    with load._Load(connection, EVENTS, None, claim) as reading:
        reading.read(landing.begin(connection, claim, claim.together))
    done = reading.result([], 0)
    assert [Path(file.file).name for file in done.files] == ["good.ndjson", "renamed.ndjson"]
    assert (done.read, done.appended, done.rejected, done.failed) == (3, 3, 0, [])
    assert number_of(connection, "landing_files") == 0
    os.utime(written, (1, 1))
    assert ingest_landing(connection, folder).read == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_tried_again_and_stops_no_other(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    drop("a.ndjson").chmod(0)
    drop("b.ndjson")
    done = ingest_landing(connection, folder)
    assert (done.appended, [Path(each.file).name for each in done.failed]) == (1, ["a.ndjson"])


def test_a_file_that_cannot_be_read_is_tried_again_alone_after_growing_pauses(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    drop("bad.ndjson", event() + b"\n" + event(type="OrderShipped"))
    drop("good.ndjson")
    pauses = []
    breaking = [Breaking(b"OrderShipped", ValueError("no\0such thing"))]
    for number in range(1, 7):
        done = ingest_landing(connection, folder, breaking)
        assert [file.appended for file in done.files] == ([1] if number == 1 else [])
        assert [each.reason for each in done.failed] == ["ValueError: no\0such thing"]
        assert attempts(connection) == [("bad.ndjson", number, "ValueError: no�such thing")]
        [(pause,)] = connection.execute(
            "SELECT round(extract(epoch FROM next_try_at - now()) / 60)::int FROM landing_files"
        ).fetchall()
        pauses.append(pause)
        assert ingest_landing(connection, folder, breaking).failed == []  # not before its time
        pause_is_over(connection)
    assert pauses == [1, 5, 15, 60, 60, 60]
    done = ingest_landing(connection, folder)
    assert (done.appended, done.duplicates, done.failed) == (1, 1, [])
    assert number_of(connection, "landing_files") == 0


def test_what_the_database_has_against_one_file_is_no_matter_of_the_others(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON ingested_files FOR EACH ROW "
        "WHEN (NEW.file LIKE '%/bad.ndjson') EXECUTE FUNCTION refuse()"
    )
    for name in ("a.ndjson", "bad.ndjson", "c.ndjson"):
        drop(name)
    done = ingest_landing(connection, folder)
    assert [Path(file.file).name for file in done.files] == ["a.ndjson", "c.ndjson"]
    assert attempts(connection) == [("bad.ndjson", 1, "RaiseException: not this one")]


def test_two_runs_at_once_take_different_files_and_a_claim_that_lapsed_is_taken_over(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    drop("a.ndjson")
    first, _ = take(connection, folder)
    drop("b.ndjson")
    second, _ = take(connection, folder)
    assert [found.path.name for found in first.together] == ["a.ndjson"]
    assert [found.path.name for found in second.together] == ["b.ndjson"]
    claims_lapse(connection)
    third, _ = take(connection, folder)
    assert len(third.together) == 2  # nobody had begun them
    assert landing.begin(connection, first, first.together) == []
    landing.renew(connection, first)
    landing.release(connection, first)
    assert take(connection, folder)[0].together == []


def test_a_claim_waits_for_another_of_the_same_files_and_takes_what_that_left(
    database_url: str, connection: Connection, folder: Path, drop: Drop
) -> None:
    for name in ("a.ndjson", "b.ndjson"):
        drop(name)
    with psycopg.connect(database_url) as other:
        seen = look(folder, FORMATS, settled=True)
        landing._take(other, uuid4(), seen.files[:1], alone=False)
        claims: list[landing.Claim] = []
        waits = threading.Thread(target=lambda: claims.append(take(connection, folder)[0]))
        waits.start()
        with psycopg.connect(database_url, autocommit=True) as watcher:
            until(
                lambda: (
                    number_of(
                        watcher,
                        "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
                    )
                    == 1
                )
            )
        other.commit()
        waits.join()
    assert [found.path.name for found in claims[0].together] == ["b.ndjson"]


def test_only_one_run_at_a_time_reads_files_that_failed_and_new_ones_go_before_them(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    for name in ("a.ndjson", "b.ndjson"):
        drop(name)
    crashed, _ = take(connection, folder)
    landing.begin(connection, crashed, crashed.together)
    claims_lapse(connection)
    pause_is_over(connection)
    drop("new.ndjson")
    claim, _ = take(connection, folder)
    assert [found.path.name for found in claim.together] == ["new.ndjson"]
    assert [found.path.name for found in claim.alone] == ["a.ndjson", "b.ndjson"]
    drop("c.ndjson")
    connection.execute(
        "UPDATE landing_files SET attempts = 1, claimed_until = now() WHERE file LIKE '%/b.ndjson'"
    )
    other, _ = take(connection, folder)
    assert [found.path.name for found in other.together] == ["c.ndjson"]
    assert other.alone == []


def test_a_very_large_file_is_read_alone_and_a_run_takes_so_much_and_no_more(
    connection: Connection, folder: Path, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "RUN_BYTES", 1000)
    drop("a_large.ndjson", b"x" * 1001)
    drop("b_large.ndjson.gz", b"x" * 101)
    for number in range(5):
        drop(f"{number}.ndjson", b"x" * 300)
    claim, _ = take(connection, folder)
    assert [found.path.name for found in claim.together] == ["0.ndjson", "1.ndjson", "2.ndjson"]
    assert [found.path.name for found in claim.alone] == ["a_large.ndjson"]


def test_a_file_that_takes_too_long_with_the_others_is_put_with_those_that_are_read_alone(
    connection: Connection, folder: Path, drop: Drop, event: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_LONG_S", 1e-9)
    drop("a.ndjson", b"\n".join(event() for _ in range(10)))
    [failed] = ingest_landing(connection, folder).failed
    assert "too long" in failed.reason
    pause_is_over(connection)
    assert ingest_landing(connection, folder).appended == 10


def test_what_a_run_has_no_time_for_is_left_to_the_next_without_an_attempt(
    connection: Connection, folder: Path, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_RUN_S", 0)
    drop("a.ndjson")
    assert ingest_landing(connection, folder).files == []
    assert attempts(connection) == [("a.ndjson", 0, None)]
    monkeypatch.undo()
    assert ingest_landing(connection, folder).appended == 1


def test_claims_are_renewed_while_a_line_has_no_end(
    connection: Connection, folder: Path, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_RENEW_S", 0)
    monkeypatch.setattr(lines, "_BLOCK", 1000)
    renewed = []
    renew = landing.renew

    def counted(*given: Any) -> None:
        renewed.append(given)
        renew(*given)

    monkeypatch.setattr(landing, "renew", counted)
    drop("a.ndjson", b"x" * 20_000)
    ingest_landing(connection, folder)
    assert len(renewed) > 15


def test_a_gzip_bomb_is_read_to_a_bound_with_flat_memory_and_not_again(
    database_url: str, connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    bomb = gzip.compress(event() + b"\n" + b" " * (1 << 29), compresslevel=1)
    drop("bomb.ndjson.gz", bomb * 3)
    drop("good.ndjson")
    script = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from tests.shipped import ingest_landing\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "done = ingest_landing(sys.argv[1], Path(sys.argv[2]))\n"
        "print(done.appended, len(done.files), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", script, database_url, str(folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    appended, files, kilobytes = map(int, output.split())
    assert (appended, files) == (2, 2)
    assert kilobytes < 60_000
    assert time.monotonic() - started < 60
    reasons = connection.execute("SELECT line, reason FROM rejects").fetchall()
    assert reasons == [(2, "gzip_bomb")]
    assert ingest_landing(connection, folder).files == []


KILLED_BY_A_FILE = """
import os, signal, sys
from pathlib import Path
from eventstore.ingestion.formats.cloudevents import CloudEvents
from tests.shipped import ingest_landing
class Deadly(CloudEvents):
    def propose(self, record):
        if b"KILLS" in record.raw:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().propose(record)
done = ingest_landing(sys.argv[1], Path(sys.argv[2]), [Deadly()])
print(len(done.files))
"""


def test_a_file_that_kills_its_run_again_and_again_stops_no_other(
    database_url: str, connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    for number in range(20):
        drop(f"{number:02}.ndjson")
    drop("07_deadly.ndjson", event(source="KILLS"))
    ends = []
    for _ in range(4):
        command = [sys.executable, "-c", KILLED_BY_A_FILE, database_url, str(folder)]
        ends.append(subprocess.run(command, capture_output=True, check=False).returncode)
        claims_lapse(connection)
        pause_is_over(connection)
    assert ends == [-signal.SIGKILL] * 4
    [(name, tries, error)] = attempts(connection)
    assert (name, error) == ("07_deadly.ndjson", "the process that read it ended in the middle")
    assert tries >= 3
    assert number_of(connection, "order_events") == 20
    drop("new.ndjson")
    subprocess.run(command, capture_output=True, check=False)
    assert number_of(connection, "order_events") == 21  # before the deadly one was tried again


def test_many_small_files_share_transactions_and_each_is_recorded_with_its_last_line(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    for number in range(100):
        drop(f"{number:02}.ndjson", b"\n".join([event(), b"nonsense", b"", event()]))
    drop("empty.ndjson", b"")
    done = ingest_landing(connection, folder)
    assert (done.read, done.appended, done.rejected) == (300, 200, 100)
    assert all((file.read, file.appended, file.rejected) == (3, 2, 1) for file in done.files[:100])
    rows = connection.execute("SELECT line, raw, count(DISTINCT file) FROM rejects GROUP BY 1, 2").fetchall()
    assert rows == [(2, b"nonsense", 100)]
    kept = connection.execute(
        "SELECT read, appended, duplicates, rejected, count(*), count(DISTINCT xmin::text) "
        "FROM ingested_files GROUP BY 1, 2, 3, 4 ORDER BY 1"
    ).fetchall()
    assert kept == [(0, 0, 0, 0, 1, 1), (3, 2, 0, 1, 100, 1)]
    assert number_of(connection, "(SELECT DISTINCT xmin::text FROM order_events) t") == 1


def test_a_file_is_not_recorded_by_a_transaction_that_was_rolled_back(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    """The database refuses events one by one at the commit: halves are tried, and their halves."""
    connection.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'no dollars'; END $$;"
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON order_events DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW WHEN (NEW.event_data ->> 'currency' = 'USD') EXECUTE FUNCTION refuse()"
    )
    dollars = {"data": {"amount": "1.00", "currency": "USD"}}
    for name in "abcdefg":
        content = [event(), event(**dollars) if name in "bf" else event(), b"nonsense"]
        drop(f"{name}.ndjson", b"\n".join(content))
    done = ingest_landing(connection, folder)
    assert [(file.read, file.appended, file.rejected) for file in done.files] == [
        (3, 1, 2) if name in "bf" else (3, 2, 1) for name in "abcdefg"
    ]
    kept = connection.execute("SELECT read, appended, rejected FROM ingested_files ORDER BY file").fetchall()
    assert kept == [(file.read, file.appended, file.rejected) for file in done.files]
    assert done.rejects_by_reason == {"not_json": 7, "refused_by_database": 2}
    assert number_of(connection, "order_events") == 12


def test_a_settled_transaction_that_was_tried_again_counts_once(connection: Connection, event: Make) -> None:
    chunk = chunks.Chunk(EVENTS)
    for number in range(4):
        chunk.lines.append(Line(number + 1, b"x", 1))
    whole, first = Settled([0, 1, 2, 3], [], []), Settled([0, 1], [], [])
    for settled in (whole, whole, first):
        chunk._remember(settled)
    assert list(chunk._outcomes) == [1, 1, 0, 0]


def test_an_outage_is_not_the_fault_of_a_file(
    database_url: str, connection: Connection, folder: Path, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop("a.ndjson")
    begin = landing.begin

    def ended(ours: Connection, *given: Any) -> Any:
        found = begin(ours, *given)
        connection.execute("SELECT pg_terminate_backend(%s)", (ours.info.backend_pid,))
        return found

    monkeypatch.setattr(landing, "begin", ended)
    with pytest.raises(psycopg.OperationalError):
        ingest_landing(database_url, folder)
    monkeypatch.undo()
    claims_lapse(connection)
    pause_is_over(connection)
    assert ingest_landing(connection, folder).appended == 1


def test_a_file_of_an_older_release_is_not_read_again(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    path = drop("a.ndjson")
    connection.execute(
        "INSERT INTO ingested_files (file, size, modified_ns, read, appended, duplicates, rejected) "
        "VALUES (%s, %s, %s, 1, 1, 0, 0)",
        (str(path), path.stat().st_size, path.stat().st_mtime_ns),
    )
    assert ingest_landing(connection, folder).files == []


def test_attempts_at_files_that_are_gone_are_forgotten_in_the_end(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    path = drop("a.ndjson")
    claim, _ = take(connection, folder)
    landing.begin(connection, claim, claim.together)
    landing.failed(connection, claim, claim.together[0].version, "no")
    path.unlink()
    drop("b.ndjson")
    ingest_landing(connection, folder)
    assert attempts(connection) == [("a.ndjson", 1, "no")]
    connection.execute("UPDATE landing_files SET next_try_at = now() - interval '2 days'")
    ingest_landing(connection, folder)
    assert number_of(connection, "landing_files") == 0


def test_one_file_of_a_folder_that_cannot_be_read_does_not_keep_the_others_from_it(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    """As `eventstore ingest FOLDER` reads it."""
    drop("a.ndjson", event(type="OrderShipped"))
    drop("b.ndjson")
    (folder / "c.ndjson").symlink_to("/etc/hostname")
    done = ingest(connection, [folder], [Breaking(b"OrderShipped", MemoryError())])
    assert [Path(file.file).name for file in done.files] == ["b.ndjson"]
    assert [Path(each.file).name for each in (*done.failed, *done.skipped)] == ["a.ndjson", "c.ndjson"]


def test_a_folder_that_cannot_be_looked_into_is_one_sentence(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputFileError, match="Not a directory"):
        ingest_landing(connection, tmp_path / "file")


def test_an_ingester_may_do_all_of_this_and_a_reader_may_look(
    connection: Connection, folder: Path, drop: Drop, event: Make
) -> None:
    drop("a.ndjson")
    drop("b.ndjson.gz", gzip.compress(event())[:-9])
    connection.execute("SET ROLE eventstore_ingester")
    assert len(ingest_landing(connection, folder).files) == 2
    connection.execute("SET ROLE eventstore_reader")
    assert files_waiting(connection, folder) == []
    connection.execute("RESET ROLE")


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.02), stop=stop_after_delay(30))
def until(condition: Callable[[], bool]) -> bool:
    return condition()


def test_a_run_that_lives_keeps_the_files_that_it_took(
    connection: Connection, folder: Path, drop: Drop
) -> None:
    drop("events.ndjson")
    mine, _ = take(connection, folder)
    connection.execute("UPDATE landing_files SET claimed_until = clock_timestamp()")
    landing.renew(connection, mine)
    theirs, _ = take(connection, folder)
    assert [found.path.name for found in mine.together] == ["events.ndjson"]
    assert theirs.together == []
