"""What a verification says in each case: intact, altered and where, or that it cannot be told and why."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.log.connection import Connection, open_connection
from eventstore.log.epochs import declare_epoch
from eventstore.seals import claims, records
from eventstore.seals.checkpoint import read_checkpoint, signed
from eventstore.seals.errors import SealError
from eventstore.seals.folder import CheckpointFolder
from eventstore.seals.note import new_key
from eventstore.seals.outside import KEY_VARIABLE, Outside
from eventstore.seals.problems import NAMED, compare
from eventstore.seals.sealing import seal
from eventstore.seals.tree import HASH_BYTES, ID_BYTES
from eventstore.seals.verifying import ALTERED, INTACT, UNKNOWN, verify
from tests.buckets import BUCKETS, part, wants_whole_tiles
from tests.log.sessions import drop_logins, make_login
from tests.robustness import old_release
from tests.seals.tampering import altering, forge_checkpoints, rewrite_tiles
from tests.shipped import upgrade

Append = Callable[..., list[UUID]]


@pytest.fixture
def in_steps(session: Connection, outside: Outside, append: Append) -> list[UUID]:
    """A log that was sealed in four steps; the first event of each."""
    firsts = []
    for _ in range(4):
        (before,) = session.execute("SELECT max(id::text) FROM order_events").fetchone() or (None,)
        append(30, 40)
        (first,) = session.execute(
            "SELECT id FROM order_events WHERE id > %s ORDER BY id LIMIT 1", (before or UUID(int=0),)
        ).fetchone() or (None,)
        firsts.append(UUID(str(first)))
        seal(session, outside)
    return firsts


def alter(connection: Connection, id_: UUID) -> None:
    connection.execute("UPDATE order_events SET created_at = created_at + 1 WHERE id = %s", (id_,))


def bucket_of(connection: Connection, id_: UUID) -> int:
    row = connection.execute(
        "SELECT order_bucket(order_id) FROM order_events WHERE id = %s", (id_,)
    ).fetchone()
    assert row is not None
    return int(row[0])


def note_file(outside: Outside, number: int) -> Path:
    return outside.folder.path / "epoch-1" / "000000" / f"{number:09d}.note"


@pytest.mark.usefixtures("in_steps")
def test_a_log_as_it_was_sealed_is_intact_and_what_came_after_is_counted(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(7)
    progress: list[int] = []
    found = verify(session, outside, on_progress=progress.append)
    assert (found.verdict, found.verified, found.sealed, found.unsealed) == (INTACT, 4800, 4800, 7)
    assert found.checkpoint == 4
    assert sum(progress) == 4800


def test_a_log_that_was_never_sealed_proves_nothing(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(3)
    found = verify(session, outside)
    assert (found.verdict, found.sealed, found.unsealed) == (UNKNOWN, 0, 3)
    assert "nothing is sealed yet" in " ".join(found.doubts)


@pytest.mark.parametrize("step", [0, 1, 3])
def test_an_alteration_together_with_its_tiles_is_placed_between_two_checkpoints(
    session: Connection, outside: Outside, in_steps: list[UUID], step: int
) -> None:
    victim = in_steps[step]
    bucket = bucket_of(session, victim)
    with altering(session):
        alter(session, victim)
        rewrite_tiles(session)
    found = verify(session, outside)
    [problem] = found.problems
    assert (problem.kind, problem.bucket, problem.checkpoint) == ("rewritten", bucket, step + 1)
    assert (f"after checkpoint {step}" if step else "from the beginning") in problem.detail


def test_a_bucket_that_stood_still_is_placed_after_the_last_checkpoint_that_says_so(
    session: Connection, outside: Outside, append: Append
) -> None:
    [order] = append(1, 3)
    seal(session, outside)
    (id_,) = (
        session.execute("SELECT id FROM order_events WHERE order_id = %s LIMIT 1", (order,)).fetchone() or ()
    )
    bucket = bucket_of(session, id_)
    for _ in range(3):  # other buckets only
        while True:
            other = uuid4()
            (theirs,) = session.execute("SELECT order_bucket(%s)", (other,)).fetchone() or (None,)
            if theirs != bucket:
                break
        session.execute('SELECT append_events(%s, \'[{"type": "A", "data": {}}]\')', (other,))
        seal(session, outside)
    session.execute('SELECT append_events(%s, \'[{"type": "B", "data": {}}]\')', (order,))
    seal(session, outside)
    with altering(session):
        session.execute("UPDATE order_events SET created_at = 0 WHERE event_type = 'B'")
        rewrite_tiles(session)
    [problem] = verify(session, outside).problems
    assert (problem.bucket, problem.checkpoint) == (bucket, 5)
    assert "events number 4 to 4, after checkpoint 4 up to checkpoint 5" in problem.detail


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM seal_tiles WHERE (bucket, tile) = (SELECT bucket, tile FROM seal_tiles LIMIT 1)",
        "UPDATE seal_tiles SET leaves = set_byte(leaves, 100, (get_byte(leaves, 100) + 1) % 256)",
        "UPDATE seal_tiles SET root = set_byte(root, 3, (get_byte(root, 3) + 1) % 256)",
        "UPDATE seal_tiles SET ids = set_byte(ids, 100, (get_byte(ids, 100) + 1) % 256)",
        "UPDATE seal_tiles SET last_id = 'ffffffff-ffff-7fff-bfff-ffffffffffff'",
        "UPDATE seal_trees SET leaves = set_byte(leaves, 0, get_byte(leaves, 0) # 1), "
        "ids = set_byte(ids, 0, get_byte(ids, 0) # 1) WHERE leaves <> ''",
        "UPDATE seal_trees SET tiles = 0, edge = '', leaves = '', ids = ''",
        "UPDATE seal_tiles SET bucket = bucket + 100",
        "TRUNCATE seal_tiles",
    ],
)
@wants_whole_tiles
@pytest.mark.usefixtures("in_steps")
def test_seals_that_were_damaged_are_told_from_a_log_that_was(
    session: Connection, outside: Outside, change: str
) -> None:
    with altering(session):
        session.execute("ALTER TABLE seal_tiles DROP CONSTRAINT seal_tiles_bucket_check")
        session.execute(change)
    found = verify(session, outside)
    assert found.verdict == ALTERED
    assert {problem.kind for problem in found.problems} == {"tile"}
    assert all("are as they were sealed" in problem.detail for problem in found.problems)
    assert found.verified == found.sealed


def test_both_the_event_and_the_damaged_tiles_are_reported_where_both_were_changed(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(1, 300)
    seal(session, outside)
    (victim,) = session.execute("SELECT id FROM order_events WHERE version = 7").fetchone() or (None,)
    bucket = bucket_of(session, victim)
    with altering(session):
        alter(session, victim)
        session.execute(
            "UPDATE seal_tiles SET root = set_byte(root, 3, get_byte(root, 3) # 1), "
            "leaves = set_byte(leaves, 3, get_byte(leaves, 3) # 1)"
        )
    found = verify(session, outside)
    assert {(p.kind, p.bucket) for p in found.problems if p.kind != "tile"} == {("rewritten", bucket)}


def test_a_table_that_was_detached_is_missed_although_it_is_there(
    session: Connection, outside: Outside, in_steps: list[UUID]
) -> None:
    bucket = bucket_of(session, in_steps[0])
    session.execute(f"ALTER TABLE order_events DETACH PARTITION {part('order_events', bucket)}")
    assert [(p.kind, p.bucket) for p in verify(session, outside).problems] == [("bucket_missing", bucket)]
    session.execute(f"DROP TABLE {part('order_events', bucket)}")
    session.execute(
        f"CREATE TABLE {part('order_events', bucket)} PARTITION OF order_events "
        f"FOR VALUES WITH (MODULUS {BUCKETS}, REMAINDER {bucket})"
    )
    found = verify(session, outside)
    assert {p.bucket for p in found.problems} == {bucket}
    assert {p.kind for p in found.problems} <= {"removed", "cut_off"}


def test_an_event_that_was_put_in_by_a_restore_of_old_rows_is_named(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside, in_steps: list[UUID]
) -> None:
    new = UUID(int=in_steps[2].int + 1)
    with connection.transaction():
        connection.execute("SET LOCAL eventstore.restoring = 'on'")
        connection.execute(
            "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
            "VALUES (%s, gen_random_uuid(), 1, 'A', '{}', 0)",
            (new,),
        )
    assert [(p.kind, p.id) for p in verify(session, outside).problems] == [("inserted", new)]


def test_a_row_twice_is_an_inserted_event() -> None:
    one, two = bytes(ID_BYTES), bytes(HASH_BYTES)
    [found] = compare(3, one, two, one * 2, two * 2)
    assert (found.kind, found.bucket) == ("inserted", 3)
    assert compare(3, one * 2, two * 2, one * 2, two * 2) == []


def test_more_problems_than_anybody_reads_are_counted(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(1, NAMED + 200)
    seal(session, outside)
    with altering(session):
        session.execute("UPDATE order_events SET created_at = created_at + 1")
    found = verify(session, outside)
    assert len(found.problems) == NAMED
    assert found.problem_count == NAMED + 200


def test_without_a_trusted_key_nothing_is_proven(
    session: Connection, in_steps: list[UUID], outside: Outside, tmp_path: Path
) -> None:
    elsewhere = Outside(tmp_path / "elsewhere", {})
    key = outside.signing_key()
    assert key is not None
    found = verify(session, elsewhere)
    assert (found.verdict, found.verified) == (UNKNOWN, 4800)
    assert "no public key" in found.doubts[0]
    against = [note_file(outside, 4)]
    assert verify(session, elsewhere, keys=[key.verifier]).verdict == UNKNOWN
    assert verify(session, elsewhere, keys=[key.verifier], against=against).verdict == INTACT
    with altering(session):
        alter(session, in_steps[0])
    assert verify(session, elsewhere).verdict == ALTERED  # it does not fit its own seals


@pytest.mark.usefixtures("in_steps")
def test_who_trusts_another_key_is_told_that_nothing_is_signed_by_it(
    session: Connection, outside: Outside
) -> None:
    found = verify(session, outside, keys=[new_key("somebody").verifier])
    assert found.verdict == ALTERED
    assert {p.kind for p in found.problems} == {"checkpoint_forged"}


@pytest.mark.usefixtures("in_steps")
def test_the_folder_vouches_for_the_key_where_the_private_one_is_elsewhere(
    session: Connection, outside: Outside
) -> None:
    outside.key_file.unlink()
    assert verify(session, outside).verdict == INTACT


@pytest.mark.usefixtures("in_steps")
def test_without_its_copies_outside_a_log_could_have_been_cut(session: Connection, outside: Outside) -> None:
    outside.folder.path.rename(outside.home / "aside")
    found = verify(session, outside)
    assert (found.verdict, found.problems) == (UNKNOWN, [])
    assert "--against" in found.doubts[0]


@pytest.mark.usefixtures("in_steps")
def test_files_that_are_no_checkpoints_are_told_and_others_still_count(
    session: Connection, outside: Outside
) -> None:
    folder = outside.folder.path
    for name, content in (
        ("epoch-1/000000/000000009.note", b"\xff\xfe"),
        ("epoch-1/000000/000000008.note", note_file(outside, 4).read_bytes()),
        ("epoch-1/000000/000000007.note", b""),
        ("epoch-x/000000/000000007.note", b"left alone"),
        ("epoch-1/README", b"left alone"),
        (".git/config", b"left alone"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "epoch-1" / "000000" / "000000006.note").mkdir()
    (Path(str(folder)) / "epoch-1" / "000000" / "\udcff.note").write_bytes(b"left alone")
    found = verify(session, outside)
    assert found.verdict == UNKNOWN
    assert len(found.doubts) == 4


@pytest.mark.usefixtures("in_steps")
def test_a_note_outside_with_other_words_is_found(session: Connection, outside: Outside) -> None:
    key = outside.signing_key()
    assert key is not None
    made = read_checkpoint(note_file(outside, 2).read_text()).checkpoint
    other = signed(made._replace(heads=made.heads[::-1]), key)  # signed all the same
    note_file(outside, 2).write_text(other.written)
    found = verify(session, outside)
    assert {p.kind for p in found.problems} == {"checkpoint_changed", "rewritten"}
    assert {p.checkpoint for p in found.problems} == {2}


@pytest.mark.usefixtures("in_steps")
def test_the_copies_of_another_log_are_no_copies_of_this_one(
    session: Connection, outside: Outside, new_database: Callable[..., str], tmp_path: Path
) -> None:
    theirs = Outside(tmp_path / "theirs", {})
    with open_connection(new_database()) as other:
        other.execute('SELECT append_events(gen_random_uuid(), \'[{"type": "A", "data": {}}]\')')
        seal(other, theirs)
    outside.folder.path.rename(outside.home / "aside")
    theirs.folder.path.rename(outside.folder.path)
    found = verify(session, outside)
    assert [p.kind for p in found.problems] == ["another_log"]


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ("DELETE FROM seal_checkpoints WHERE number = 2", {"checkpoint_missing", "checkpoint_changed"}),
        ("DELETE FROM seal_checkpoints WHERE number = 1", {"checkpoint_missing"}),
        ("UPDATE seal_checkpoints SET size = 0 WHERE number = 3", {"checkpoint_changed"}),
        ("UPDATE seal_checkpoints SET sealed_at = now() WHERE number = 3", {"checkpoint_changed"}),
        ("UPDATE seal_checkpoints SET note = '' WHERE number = 4", {"checkpoint_changed"}),
        (
            "INSERT INTO seal_checkpoints SELECT 5, epoch, size, horizon, sealed_at, note "
            "FROM seal_checkpoints WHERE number = 4",
            {"checkpoint_changed", "checkpoint_missing"},
        ),
    ],
)
@pytest.mark.usefixtures("in_steps")
def test_a_table_of_checkpoints_that_was_changed_is_found(
    session: Connection, outside: Outside, change: str, kinds: set[str]
) -> None:
    with altering(session):
        session.execute(change)
    found = verify(session, outside)
    assert found.verdict == ALTERED
    assert {p.kind for p in found.problems} <= kinds


def test_a_thief_of_the_key_is_found_by_an_older_copy(
    session: Connection, outside: Outside, in_steps: list[UUID], tmp_path: Path
) -> None:
    key = outside.signing_key()
    assert key is not None
    with altering(session):
        alter(session, in_steps[0])
        rewrite_tiles(session)
        forge_checkpoints(session, key)
    everything_rewritten = Outside(tmp_path / "elsewhere", {KEY_VARIABLE: key.secret})
    against = tmp_path / "kept.txt"
    note_file(outside, 1).rename(against)
    found = verify(session, everything_rewritten, against=[against])
    assert [(p.kind, p.checkpoint) for p in found.problems] == [("rewritten", 1)]


def test_many_checkpoints_are_thinned_and_an_alteration_is_found_all_the_same(
    session: Connection,
    outside: Outside,
    append: Append,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "_KEPT", 4)
    append(60)
    seal(session, outside, step=2)
    (victim,) = session.execute("SELECT id FROM order_events ORDER BY id OFFSET 31 LIMIT 1").fetchone() or ()
    assert verify(session, outside).verdict == INTACT
    with altering(session):
        alter(session, victim)
        rewrite_tiles(session)
    [problem] = verify(session, outside).problems
    assert problem.kind == "rewritten"
    assert problem.checkpoint is not None
    assert 16 <= problem.checkpoint <= 16 + 8


@pytest.mark.parametrize("step", [0, 2])
def test_since_leaves_out_what_is_older_and_what_is_newer_is_proven_all_the_same(
    session: Connection, outside: Outside, append: Append, step: int
) -> None:
    firsts = []
    for _ in range(3):
        order = append(1, 700)
        seal(session, outside)
        firsts.append(
            session.execute(
                "SELECT id FROM order_events WHERE order_id = %s ORDER BY id LIMIT 1", (order[0],)
            ).fetchone()
        )
    (victim,) = firsts[step] or ()
    (since,) = firsts[1] or ()
    found = verify(session, outside, since=since)
    assert found.verdict == INTACT
    assert 1400 <= found.verified < 2100 - 256
    with altering(session):
        alter(session, victim)
    found = verify(session, outside, since=since)
    assert [p.id for p in found.problems] == ([victim] if step == 2 else [])
    assert [p.id for p in verify(session, outside).problems] == [victim]


def test_what_is_appended_and_sealed_during_a_verification_does_not_disturb_it(
    session: Connection, outside: Outside, in_steps: list[UUID], append: Append, database_url: str
) -> None:
    with open_connection(database_url) as other, ThreadPoolExecutor(1) as pool:
        verifying = [pool.submit(verify, other, outside) for _ in range(5)]
        while not verifying[-1].done():
            append(5, 3)
            seal(session, outside)
        assert {one.result().verdict for one in verifying} == {INTACT}


def test_a_reader_may_verify_and_writes_nothing(
    connection: psycopg.Connection[Any], in_steps: list[UUID], outside: Outside, database_url: str
) -> None:
    try:
        login = make_login(connection, "auditor", "eventstore_reader")
        url = psycopg.conninfo.make_conninfo(database_url, user=login, password="hush")
        with open_connection(url) as own:
            own.execute("SET default_transaction_read_only = on")
            assert verify(own, outside).verdict == INTACT
    finally:
        drop_logins(connection)


def test_a_checkpoint_given_that_is_none_is_refused(
    session: Connection, outside: Outside, tmp_path: Path
) -> None:
    for content in (b"", b"\xff\xff", b"a\n\n\xe2\x80\x94 b c\n"):
        (tmp_path / "kept").write_bytes(content)
        with pytest.raises(SealError, match="is no checkpoint"):
            verify(session, outside, against=[tmp_path / "kept"])


def test_a_folder_finds_its_newest_without_reading_all(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "none")
    assert folder.newest() is None
    assert list(folder.all()) == []
    for number in (1, 999, 1000, 12_345_678):
        path = folder.path / "epoch-1" / f"{number // 1000:06d}" / f"{number:09d}.note"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert [place.number for place in folder.places()] == [1, 999, 1000, 12_345_678]
    newest = folder.newest()
    assert newest is not None
    assert newest.number == 12_345_678
    (folder.path / "epoch-2" / "000000").mkdir(parents=True)
    (folder.path / "epoch-2" / "000000" / "000000007.note").write_text("")
    newest = folder.newest()
    assert newest is not None
    assert newest[:2] == (2, 7)


def test_an_epoch_that_was_declared_makes_a_gap_and_no_problem(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(3)
    seal(session, outside)
    session.execute("CREATE TEMPORARY TABLE trees_before AS SELECT * FROM seal_trees")
    append(3)
    seal(session, outside)
    with altering(session):  # an older backup is put back …
        session.execute(
            "DELETE FROM order_events WHERE id > (SELECT horizon FROM seal_checkpoints WHERE number = 1); "
            "DELETE FROM seal_checkpoints WHERE number = 2; DELETE FROM seal_trees; "
            "INSERT INTO seal_trees SELECT * FROM trees_before"
        )
    append(2)
    with pytest.raises(SealError):
        seal(session, outside)
    session.execute("SELECT begin_epoch('restore', 'found out')")
    with pytest.raises(SealError):
        seal(session, outside)
    assert verify(session, outside).verdict != INTACT
    declare_epoch(session, 2, "an older backup", "ann")  # … and somebody says so
    found = verify(session, outside)
    assert (found.problems, len(found.gaps)) == ([], 1)
    assert seal(session, outside).checkpoint == 2
    found = verify(session, outside)
    assert (found.verdict, found.problems, found.sealed) == (INTACT, [], 5)
    assert len(found.gaps) == 1
    [said] = found.epochs
    assert said.startswith("epoch 2 of ")
    assert said.endswith(", a restore, by ann: an older backup")
    assert records.newest_note(session) is not None


def test_after_a_restore_on_purpose_the_folder_is_moved_away_and_sealing_goes_on(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(3)
    seal(session, outside)
    session.execute("CREATE TEMPORARY TABLE trees_before AS SELECT * FROM seal_trees")
    append(3)
    seal(session, outside)
    with altering(session):
        session.execute(
            "DELETE FROM order_events WHERE id > (SELECT horizon FROM seal_checkpoints WHERE number = 1); "
            "DELETE FROM seal_checkpoints WHERE number = 2; DELETE FROM seal_trees; "
            "INSERT INTO seal_trees SELECT * FROM trees_before"
        )
    append(2)
    kept = outside.folder.path.rename(outside.home / "kept")
    assert seal(session, outside).size == 5
    assert verify(session, outside).verdict == INTACT
    notes = sorted((kept / "epoch-1" / "000000").iterdir())
    assert verify(session, outside, against=notes[:1]).verdict == INTACT
    assert verify(session, outside, against=notes[1:]).verdict == ALTERED


def test_odd_events_that_an_old_release_let_in_are_sealed_as_they_are(
    new_database: Callable[..., str], outside: Outside
) -> None:
    url = new_database(migrated=False)
    old_release.make(url)
    upgrade(url)
    with open_connection(url) as odd:
        sealed = seal(odd, outside)
        assert sealed.events > 10
        found = verify(odd, outside)
        assert (found.verdict, found.verified) == (INTACT, sealed.events)
