"""Base backups and the archived log: all of it comes back, or what was there at a moment, or an error."""

import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import psycopg
import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from eventstore.server import cluster, embedded
from eventstore.server.backup import base_backup, catalogue, nightly, recovery, wal_archive
from eventstore.server.backup.catalogue import Found
from eventstore.server.backup.programs import server_folder
from eventstore.server.backup.prune import prune
from eventstore.server.errors import ServerError
from tests.damage import change_a_bit
from tests.server.clusters import server_of, serving

KEEP = timedelta(days=7)


def folder(prefix: str) -> Path:
    return Path(mkdtemp(prefix=f"{prefix}-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))


@pytest.fixture
def home() -> Iterator[Path]:
    home = folder("restored")
    yield home
    embedded.stop(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    home = folder("backed-up")
    yield embedded.start(home)
    embedded.stop(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def backups(server: str, tmp_path: Path) -> Iterator[Path]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS noted; CREATE TABLE noted (n int)")
    yield tmp_path / "back ups"
    wal_archive.keep_no_more(server)


@contextmanager
def archiving(server: str, backups: Path) -> Iterator[Path]:
    """Receive the log for as long as the block lasts."""
    archive = wal_archive.prepare(server, backups)
    command, environment = wal_archive.receive_command(server, archive)
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as receiving:
        try:
            until_received(server)
            yield archive
        finally:
            receiving.send_signal(signal.SIGINT)
            receiving.wait(30)


@retry(retry=retry_if_result(lambda met: not met), wait=wait_fixed(0.05), stop=stop_after_delay(60))
def until_received(server: str) -> bool:
    """All that was written before the call is in the archive."""
    with psycopg.connect(server, autocommit=True) as connection:
        row = connection.execute(
            "SELECT bool_or(write_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication "
            "WHERE application_name = 'eventstore backup'"
        ).fetchone()
    return row == (True,)


def write(server: str, n: int) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("INSERT INTO noted VALUES (%s)", (n,))


def now(server: str) -> datetime:
    with psycopg.connect(server) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
        assert row is not None
        at: datetime = row[0]
        return at.astimezone(UTC)


def end_segment(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, '', ''), pg_switch_wal()")


def noted(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM noted ORDER BY n")]


def restored(found: Found, home: Path, to: datetime | None = None) -> list[int]:
    return recovery.restore(found, home, to, noted, lambda _: None).settled


def test_all_that_was_archived_comes_back_and_the_server_goes_on(
    server: str, backups: Path, home: Path
) -> None:
    write(server, 1)
    with archiving(server, backups):
        found = base_backup.take(server, backups)
        write(server, 2)
        end_segment(server)
        write(server, 3)
        until_received(server)
    assert restored(found, home) == [1, 2, 3]
    url = embedded.start(home)
    write(url, 4)
    assert noted(url) == [1, 2, 3, 4]


def test_what_was_there_at_a_moment_comes_back(server: str, backups: Path, home: Path) -> None:
    with archiving(server, backups):
        found = base_backup.take(server, backups)
        write(server, 1)
        between = now(server)
        write(server, 2)
        until_received(server)
    assert recovery.choose(backups, between) == found
    assert restored(found, home, between) == [1]


def test_a_backup_alone_is_enough_for_the_moment_at_which_it_was_taken(
    server: str, backups: Path, home: Path
) -> None:
    write(server, 1)
    found = base_backup.take(server, backups)
    write(server, 2)
    assert restored(found, home) == [1]


def test_compressed_segments_and_the_last_one_that_is_cut_short_are_read(
    server: str, backups: Path, home: Path
) -> None:
    with archiving(server, backups) as archive:
        found = base_backup.take(server, backups)
        write(server, 1)
        end_segment(server)
        write(server, 2)
        until_received(server)
    assert wal_archive.compress(archive) > 0
    assert wal_archive.compress(archive) == 0
    assert {path.suffix for path in archive.iterdir()} == {".gz", ".partial"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in archive.iterdir())
    assert restored(found, home) == [1, 2]


def test_a_receiver_that_was_killed_goes_on_without_a_gap(server: str, backups: Path, home: Path) -> None:
    with archiving(server, backups) as archive:
        found = base_backup.take(server, backups)
    for number in (1, 2):
        command, environment = wal_archive.receive_command(server, archive)
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as receiving:
            write(server, number)
            until_received(server)
            receiving.kill()
        end_segment(server)
        write(server, number * 10)
        wal_archive.compress(archive)
    with archiving(server, backups):
        pass
    assert restored(found, home) == [1, 2, 10, 20]


def test_behind_a_gap_nothing_is_restored_and_a_new_backup_is_due(
    server: str, backups: Path, home: Path
) -> None:
    with archiving(server, backups) as archive:
        found = base_backup.take(server, backups)
        write(server, 1)
        for _ in range(3):
            end_segment(server)
        write(server, 2)
        until_received(server)
    assert nightly.why_due(server, backups, found.backup.started_at) is None
    names = sorted(path.name for path in archive.iterdir())
    (archive / names[-2]).unlink()
    said: list[str] = []
    assert recovery.restore(found, home, None, noted, said.append).settled == [1]
    assert any("has a gap" in line for line in said)
    assert "gap" in str(nightly.why_due(server, backups, found.backup.started_at))


@pytest.mark.parametrize("is_packed", [False, True], ids=["as received", "compressed"])
def test_behind_a_damaged_segment_nothing_is_restored_and_that_is_said(
    server: str, backups: Path, home: Path, is_packed: bool
) -> None:
    with archiving(server, backups) as archive:
        found = base_backup.take(server, backups)
        write(server, 1)
        end_segment(server)
        with psycopg.connect(server, autocommit=True) as connection:
            place = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        write(server, 2)
        for number in (3, 4):
            end_segment(server)
            write(server, number)
        until_received(server)
    assert place is not None
    if is_packed:
        wal_archive.compress(archive)
    segment = next(
        one
        for one in wal_archive.segments(archive, found.backup.segment_bytes)
        if one.number == wal_archive.segment_of(place[0], found.backup.segment_bytes)
    )
    within = int(place[0].partition("/")[2], 16) % found.backup.segment_bytes
    change_a_bit(segment.path, -6 if is_packed else within + 30)
    said: list[str] = []
    assert recovery.restore(found, home, None, noted, said.append).settled == [1]
    [warning] = [line for line in said if "warning" in line]
    assert segment.name in warning
    assert "is damaged" in warning
    assert "what came after" in warning


@pytest.mark.parametrize("is_packed", [False, True], ids=["as received", "compressed"])
def test_a_backup_needs_nothing_of_the_archive_so_damage_there_takes_nothing_from_it(
    server: str, backups: Path, home: Path, is_packed: bool
) -> None:
    write(server, 1)
    with archiving(server, backups) as archive:
        found = base_backup.take(server, backups)
        write(server, 2)
        end_segment(server)
        until_received(server)
    if is_packed:
        wal_archive.compress(archive)
    [segment, *_] = wal_archive.unbroken_from(archive, found.backup.end_lsn, found.backup.segment_bytes)
    change_a_bit(segment.path, -6 if is_packed else 100)
    said: list[str] = []
    assert recovery.restore(found, home, None, noted, said.append).settled == [1]
    assert any(f"the segment {segment.name} of the archived log is damaged" in line for line in said)


@pytest.mark.parametrize("cut", [1, 4, 8])
def test_a_log_that_ends_within_a_record_is_not_taken_for_damaged(
    server: str, backups: Path, home: Path, cut: int
) -> None:
    """As where the receiver was killed, or the server."""
    with archiving(server, backups) as archive:
        found = base_backup.take(server, backups)
        write(server, 1)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("SELECT pg_logical_emit_message(false, 'long', repeat('x', 20000))")
        until_received(server)
    segment = wal_archive.segments(archive, found.backup.segment_bytes)[-1]
    content = bytearray(segment.path.read_bytes())
    end = len(content.rstrip(b"\0")) - cut * 2500
    content[end:] = bytes(len(content) - end)
    segment.path.write_bytes(content)
    said: list[str] = []
    assert recovery.restore(found, home, None, noted, said.append).settled == [1]
    assert [line for line in said if "warning" in line] == []


def test_a_folder_with_a_server_in_it_is_refused_and_left_alone(
    server: str, backups: Path, home: Path
) -> None:
    found = base_backup.take(server, backups)
    (home / "postgres").mkdir()
    (home / "postgres" / "mine").touch()
    with pytest.raises(ServerError, match="there is a server in"):
        restored(found, home)
    assert [path.name for path in (home / "postgres").iterdir()] == ["mine"]


def test_an_empty_folder_will_do(server: str, backups: Path, home: Path) -> None:
    write(server, 1)
    (home / "postgres").mkdir()
    assert restored(base_backup.take(server, backups), home) == [1]


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_backup_is_found_out_and_nothing_is_left_behind(
    server: str, backups: Path, home: Path, damage: str
) -> None:
    found = base_backup.take(server, backups)
    archive = found.folder / "base.tar.gz"
    content = archive.read_bytes()
    if damage == "changed":
        with gzip.open(archive) as packed, tarfile.open(fileobj=packed) as tar:
            within = next(file.offset_data for file in tar if file.name.endswith("PG_VERSION"))
        held = gzip.decompress(content)
        archive.write_bytes(gzip.compress(held[:within] + b"X" + held[within + 1 :], compresslevel=1))
    elif damage == "cut":
        archive.write_bytes(content[: len(content) // 2])
    else:
        archive.unlink()
    with pytest.raises(ServerError, match=r"damaged|cannot be read"):
        restored(found, home)
    assert not list(home.glob("postgres*/"))


def test_a_copy_with_a_changed_bit_is_found_out_or_holds_what_it_held(tmp_path: Path) -> None:
    """Some bits mean nothing to gzip, such as the time in its head."""
    archive, into = tmp_path / "base.tar.gz", tmp_path / "into"
    content = os.urandom(700)
    files = {"PG_VERSION": b"18\n", "base/1/2": content, "backup_manifest": b"{}"}
    with tarfile.open(archive, "w:gz") as made:
        for name, held in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(held)
            made.addfile(entry, io.BytesIO(held))
    listed = [
        {"Path": name, "Size": len(held), "Checksum": sha256(held).hexdigest()}
        for name, held in files.items()
        if name != "backup_manifest"
    ]
    manifest = msgspec.convert({"Files": listed, "WAL-Ranges": []}, base_backup.Manifest)
    assert list(base_backup.verified(archive, manifest)) == list(files)
    found_out = 0
    for damaged in one_bit_changed(archive.read_bytes()):
        archive.write_bytes(damaged)
        try:
            names = list(base_backup.verified(archive, manifest, into))
        except ServerError:
            found_out += 1
        else:
            assert {name: (into / name).read_bytes() for name in names} == files
        shutil.rmtree(into, ignore_errors=True)
    assert found_out > len(content)


def test_a_manifest_with_a_changed_bit_is_found_out(server: str, backups: Path) -> None:
    found = base_backup.take(server, backups)
    file = found.folder / "backup_manifest"
    sound = file.read_bytes()
    places = [0, len(sound) - 2, *range(1, len(sound), len(sound) // 200)]
    for at in [*places, sound.index(b'"Start-LSN"') + 14, sound.index(b'"Manifest-Checksum"') + 2]:
        file.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        with pytest.raises(ServerError, match="the manifest of the backup"):
            base_backup.read_manifest(found.folder)


def test_a_compressed_segment_with_a_changed_bit_is_found_out_or_holds_what_it_held(tmp_path: Path) -> None:
    name = "000000010000000000000001"
    archive, target = tmp_path / "archive", tmp_path / "pg_wal"
    for made in (archive, target):
        made.mkdir()
    packed = archive / f"{name}.gz"
    content = os.urandom(700) + bytes(3000)
    packed.write_bytes(gzip.compress(content))
    segment = wal_archive.Segment(1, is_partial=False, path=packed)
    found_out = 0
    for damaged in one_bit_changed(packed.read_bytes()):
        packed.write_bytes(damaged)
        (target / name).unlink(missing_ok=True)
        if wal_archive.stage([segment], archive, target) == segment:
            found_out += 1
            assert not (target / name).exists()
        else:
            assert (target / name).read_bytes() == content
    assert found_out > 700


def one_bit_changed(sound: bytes) -> Iterator[bytes]:
    for at in range(len(sound)):
        yield sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :]


def test_what_the_manifest_lists_and_the_copy_lacks_is_found_out(server: str, backups: Path) -> None:
    found = base_backup.take(server, backups)
    manifest = base_backup.read_manifest(found.folder)
    manifest.files.append(manifest.files[0].__class__(size=1, checksum="", path="base/1/more"))
    with pytest.raises(ServerError, match="lacks base/1/more"):
        list(base_backup.verified(found.folder / "base.tar.gz", manifest))


def test_a_copy_with_a_file_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    archive, into = tmp_path / "base.tar.gz", tmp_path / "into"
    with tarfile.open(archive, "w:gz") as made:
        made.addfile(tarfile.TarInfo("../outside"))
    listed = base_backup.Manifest(files=[], wal=[])
    with pytest.raises(ServerError, match="outside of its folder"):
        list(base_backup.verified(archive, listed, into))
    assert not (tmp_path / "outside").exists()


def test_moments_that_cannot_be_restored_are_named(server: str, backups: Path, home: Path) -> None:
    with pytest.raises(ServerError, match="no base backup"):
        recovery.choose(backups, None)
    with archiving(server, backups):
        found = base_backup.take(server, backups)
        until_received(server)
    with pytest.raises(ServerError, match=r"oldest base backup .* was finished at"):
        recovery.choose(backups, found.backup.started_at - timedelta(days=1))
    with pytest.raises(ServerError, match="the archived log ends before"):
        restored(found, home, now(server))
    assert not list(home.glob("postgres*/"))


def test_a_backup_that_was_killed_does_not_count(server: str, backups: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from eventstore.server.backup import base_backup; "
        "base_backup.take(sys.argv[1], Path(sys.argv[2]))"
    )
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE TABLE bulk AS SELECT random() FROM generate_series(1, 300000)")
    command: list[str | Path] = [sys.executable, "-c", script, server, backups]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as taking:
        while not list(backups.glob("*/base/*.new/base.tar.gz")):
            assert taking.poll() is None
            time.sleep(0.01)
        taking.kill()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE bulk")
    assert catalogue.all_of(backups) == []
    assert catalogue.last_backup(backups) is None


def test_a_restore_that_was_killed_is_done_again(server: str, backups: Path, home: Path) -> None:
    write(server, 1)
    found = base_backup.take(server, backups)
    script = (
        "import sys, time; from pathlib import Path; from eventstore.server.backup import recovery; "
        "found = recovery.choose(Path(sys.argv[1]), None); "
        "settle = lambda _: print(flush=True) or time.sleep(600); "
        "recovery.restore(found, Path(sys.argv[2]), None, settle, print)"
    )
    command: list[str | Path] = [sys.executable, "-c", script, backups, home]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as restoring:
        assert restoring.stdout is not None
        while restoring.stdout.readline().strip():
            pass  # the restored server serves when the line is empty
        restoring.kill()
    left = cluster.processes(home.resolve() / "postgres.restoring")
    assert left
    assert restored(found, home) == [1]
    assert not any(process.is_running() for process in left)


def test_what_is_wrong_with_the_restored_database_is_said_as_it_is(
    server: str, backups: Path, home: Path
) -> None:
    found = base_backup.take(server, backups)

    def refuse(_: str) -> None:
        raise ServerError("of a later release")

    with pytest.raises(ServerError, match=r"^of a later release$"):
        recovery.restore(found, home, None, refuse, lambda _: None)
    assert not list(home.glob("postgres*/"))


def test_without_programs_of_its_version_a_backup_is_not_touched(
    server: str, backups: Path, home: Path
) -> None:
    found = base_backup.take(server, backups)
    other = Found(found.folder, msgspec.structs.replace(found.backup, server_version=99))
    with pytest.raises(ServerError, match="no PostgreSQL 99 here"):
        restored(other, home)
    assert not list(home.iterdir())


def test_folders_whose_names_are_no_text_will_do(server: str, tmp_path: Path, home: Path) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS noted; CREATE TABLE noted (n int)")
    write(server, 1)
    backups = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b'\xff \"%f"))
    found = base_backup.take(server, backups)
    odd = home / os.fsdecode(b"h'\xff, \\%p")
    try:
        assert restored(found, odd) == [1]
    finally:
        embedded.stop(odd)


def test_of_several_backups_the_last_before_the_moment_is_chosen(server: str, backups: Path) -> None:
    first = base_backup.take(server, backups)
    time.sleep(1.1)  # they are named by the second
    second = base_backup.take(server, backups)
    assert recovery.choose(backups, None) == second
    assert recovery.choose(backups, second.backup.finished_at) == second
    assert recovery.choose(backups, second.backup.started_at) == first
    last = catalogue.last_backup(backups)
    assert last is not None
    assert last.at == second.backup.finished_at


# What goes


def aged(found: Found, days: int) -> Found:
    """As if it had been taken so many days ago."""
    ago = timedelta(days=days)
    backup = msgspec.structs.replace(
        found.backup, started_at=found.backup.started_at - ago, finished_at=found.backup.finished_at - ago
    )
    (found.folder / "backup.json").write_bytes(msgspec.json.encode(backup))
    return Found(found.folder, backup)


def test_what_nobody_goes_back_to_goes_with_its_log_and_the_rest_can_be_restored(
    server: str, backups: Path, home: Path
) -> None:
    taken = []
    with archiving(server, backups) as archive:
        for number, days in enumerate((20, 8, 3, 0)):
            write(server, number)
            taken.append(aged(base_backup.take(server, backups), days))
            end_segment(server)
            time.sleep(1.1)
        until_received(server)
    assert prune(backups, KEEP) == [taken[0].folder]
    kept = taken[1].backup
    first = wal_archive.segments(archive, kept.segment_bytes)[0]
    assert first.number == wal_archive.segment_of(kept.start_lsn, kept.segment_bytes)
    assert restored(taken[1], home) == [0, 1, 2, 3]


def test_the_newest_backups_stay_however_old_they_are(server: str, backups: Path) -> None:
    taken = []
    for days in (90, 60, 30):
        taken.append(aged(base_backup.take(server, backups), days))
        time.sleep(1.1)
    assert prune(backups, KEEP) == [taken[0].folder]
    assert [found.folder for found in catalogue.all_of(backups)] == [one.folder for one in taken[1:]]


def test_a_backup_is_due_where_there_is_none_and_after_each_night(server: str, backups: Path) -> None:
    assert "none of this server" in str(nightly.why_due(server, backups))
    taken = nightly.take(server, backups, KEEP)
    assert taken is not None
    day = taken.found.backup.started_at
    next_night = datetime.combine(day.date(), nightly.AT, UTC)
    next_night += timedelta(days=1) if next_night <= day else timedelta()
    assert nightly.why_due(server, backups, next_night - timedelta(minutes=1)) is None
    assert "older than" in str(nightly.why_due(server, backups, next_night + timedelta(minutes=1)))


def test_one_process_at_a_time_takes_a_backup(server: str, backups: Path) -> None:
    with nightly._alone(backups) as first:
        assert first
        assert nightly.take(server, backups, KEEP) is None


# Other servers


def test_an_older_server_is_restored_by_programs_of_its_own_version(backups: Path, home: Path) -> None:
    with server_of(15) as source:
        with psycopg.connect(source, autocommit=True) as connection:
            connection.execute("CREATE TABLE noted (n int)")
        with archiving(source, backups):
            found = base_backup.take(source, backups)
            write(source, 1)
            between = now(source)
            write(source, 2)
            until_received(source)
    assert found.backup.server_version == 15
    assert restored(found, home, between) == [1]
    with serving(home / "postgres", server_folder(15)) as url:
        assert noted(url) == [1]


def test_who_may_not_copy_the_server_is_told_so(server: str, backups: Path) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reporter; CREATE ROLE reporter LOGIN")
    try:
        with pytest.raises(ServerError, match="cannot be copied as a whole"):
            base_backup.identity(server.replace("postgres@", "reporter@"))
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP ROLE reporter")


def test_tablespaces_are_refused(server: str, backups: Path, tmp_path: Path) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SET allow_in_place_tablespaces = on")
        connection.execute("CREATE TABLESPACE elsewhere LOCATION ''")
        try:
            with pytest.raises(ServerError, match="elsewhere"):
                base_backup.take(server, backups)
        finally:
            connection.execute("DROP TABLESPACE elsewhere")


def test_a_home_that_has_lost_its_server_is_not_begun_anew(home: Path) -> None:
    embedded.start(home)
    embedded.stop(home)
    shutil.rmtree(home / "postgres")
    with pytest.raises(ServerError, match="is gone"):
        embedded.start(home)
    (home / "postgres.log").unlink()
    embedded.start(home)
