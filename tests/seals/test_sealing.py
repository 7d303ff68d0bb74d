"""Sealing follows the log, costs what is new, and never signs what contradicts what was signed before."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.log.connection import Connection, open_connection
from eventstore.seals import records
from eventstore.seals.checkpoint import Signed, read_checkpoint
from eventstore.seals.errors import KeyMissingError, SealError
from eventstore.seals.note import new_key, read_signing_key
from eventstore.seals.outside import KEY_VARIABLE, Outside
from eventstore.seals.sealing import seal
from eventstore.seals.tree import TILE, root_of
from tests.buckets import BUCKETS, part
from tests.log.sessions import drop_logins, make_login
from tests.seals.canonical import leaf_hash
from tests.seals.tampering import altering, forge_checkpoints, rewrite_tiles

Append = Callable[..., list[UUID]]
_COLUMNS = (
    "id, order_id, version, event_type, event_data::text, created_at, source, source_id, metadata::text"
)


def newest(connection: Connection) -> Signed:
    found = records.newest_note(connection)
    assert found is not None
    return read_checkpoint(found[1])


def expected_heads(connection: psycopg.Connection[Any]) -> list[tuple[int, bytes]]:
    """The trees over the whole log, by a second hand."""
    heads = []
    for bucket in range(BUCKETS):
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM {part('order_events', bucket)} ORDER BY id"
        ).fetchall()
        heads.append((len(rows), root_of(b"".join(map(leaf_hash, rows)))))
    return heads


def files(outside: Outside) -> list[str]:
    return sorted(path.name for path in outside.folder.path.rglob("*") if path.is_file())


def test_a_checkpoint_holds_the_roots_of_all_events_and_is_signed(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside, append: Append
) -> None:
    append(50, 5)
    done = seal(session, outside)
    made = newest(session)
    assert (done.events, done.size, done.checkpoint, done.warnings) == (250, 250, 1, [])
    assert list(made.checkpoint.heads) == expected_heads(connection)
    key = outside.signing_key()
    assert key is not None
    assert made.note.is_signed_by(key.verifier)
    assert done.key == str(key.verifier)
    assert made.checkpoint.log == key.name


def test_the_trees_grow_over_tiles_as_if_all_had_been_sealed_at_once(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside, append: Append
) -> None:
    for orders, events in ((3, 200), (1, 700), (0, 0), (40, 3), (1, TILE)):
        append(orders, events)
        assert seal(session, outside).events == orders * events
        assert list(newest(session).checkpoint.heads) == expected_heads(connection)
    tiles = connection.execute("SELECT bucket, tile, last_id, root, ids, leaves FROM seal_tiles").fetchall()
    assert len(tiles) >= 3
    for bucket, tile, last_id, root, ids, leaves in tiles:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM {part('order_events', bucket)} ORDER BY id OFFSET %s LIMIT 256",
            (tile * TILE,),
        ).fetchall()
        assert leaves == b"".join(map(leaf_hash, rows))
        assert ids == b"".join(row[0].bytes for row in rows)
        assert (last_id, root) == (rows[-1][0], root_of(leaves))


def test_much_is_sealed_in_steps_each_with_a_checkpoint_of_its_own(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside, append: Append
) -> None:
    append(20, 10)
    progress: list[int] = []
    done = seal(session, outside, step=64, on_progress=progress.append)
    assert progress == [64, 64, 64, 8]
    assert (done.events, done.checkpoint) == (200, 4)
    assert list(newest(session).checkpoint.heads) == expected_heads(connection)
    notes = [read_checkpoint(note) for _, note in records.notes(session)]
    assert [note.checkpoint.size for note in notes] == [64, 128, 192, 200]
    assert [note.checkpoint.previous for note in notes] == [None, *(note.digest for note in notes[:-1])]


def test_without_a_new_event_nothing_is_written(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside, append: Append
) -> None:
    assert seal(session, outside).checkpoint == 0
    assert files(outside) == []
    append(3)
    seal(session, outside)
    tables = "seal_trees", "seal_tiles", "seal_checkpoints", "seal_keys"
    before = [connection.execute(f"SELECT xmin, xmax, * FROM {table}").fetchall() for table in tables]
    horizon = connection.execute("SELECT last_value FROM feed_horizon").fetchall()
    assert seal(session, outside).events == 0
    assert before == [connection.execute(f"SELECT xmin, xmax, * FROM {table}").fetchall() for table in tables]
    assert connection.execute("SELECT last_value FROM feed_horizon").fetchall() == horizon


def test_an_append_that_is_open_is_sealed_once_it_is_committed(
    connection: psycopg.Connection[Any],
    session: Connection,
    outside: Outside,
    append: Append,
    database_url: str,
) -> None:
    append(2)
    with psycopg.connect(database_url) as open_append:
        open_append.execute('SELECT append_events(gen_random_uuid(), \'[{"type": "A", "data": {}}]\')')
        append(5)
        assert seal(session, outside).size == 2
        open_append.commit()
    assert seal(session, outside).size == 8
    assert list(newest(session).checkpoint.heads) == expected_heads(connection)


def test_a_clock_that_goes_back_loses_no_event_and_stops_no_seal(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside, append: Append
) -> None:
    for shift in (0, 3_600_000, -86_400_000, 1000, -1):
        connection.execute(
            "CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE RETURN "
            f"(floor(date_part('epoch', clock_timestamp()) * 1000) + {shift})::bigint"
        )
        append(3, 2)
        assert seal(session, outside).events == 6
        assert list(newest(session).checkpoint.heads) == expected_heads(connection)


def test_two_sealers_at_once_seal_everything_once(
    connection: psycopg.Connection[Any], outside: Outside, append: Append, database_url: str
) -> None:
    append(60, 5)

    def work(_: int) -> int:
        with open_connection(database_url) as own:
            return seal(own, outside, step=30).events

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 300
    with open_connection(database_url) as session:
        made = newest(session)
        assert list(made.checkpoint.heads) == expected_heads(connection)
        assert [number for number, _ in records.notes(session)] == list(range(1, made.checkpoint.number + 1))
        assert len([name for name in files(outside) if name[0] == "0"]) == made.checkpoint.number


def test_the_copies_in_the_folder_are_the_notes_of_the_database_and_its_keys(
    session: Connection, outside: Outside, append: Append
) -> None:
    for _ in range(3):
        append(2)
        seal(session, outside)
    assert files(outside) == ["000000001.note", "000000002.note", "000000003.note", "key-0001.note"]
    assert [copy.written for copy in outside.folder.all() if isinstance(copy, Signed)] == [
        note for _, note in records.notes(session)
    ]
    assert outside.folder.key_notes() == records.key_notes(session)


def test_copies_that_a_crash_left_out_are_made_by_the_next_run(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(2)
    seal(session, outside)
    append(2)
    seal(session, outside, step=1)
    for name in ("000000002.note", "000000003.note"):
        (outside.folder.path / "epoch-1" / "000000" / name).unlink()
    (outside.folder.path / "epoch-1" / "000000" / "000000002.note").write_text("")  # an odd file system
    append(1)
    done = seal(session, outside)
    assert "000000003.note" in files(outside)
    assert [copy.written for copy in outside.folder.all() if isinstance(copy, Signed)] == [
        note for _, note in records.notes(session)
    ]
    assert "missing" in " ".join(done.warnings)


def test_a_database_that_is_older_than_the_folder_is_not_sealed(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(2)
    seal(session, outside)
    session.execute("CREATE TEMPORARY TABLE older AS SELECT * FROM seal_trees")
    append(2)
    seal(session, outside)
    with altering(session):
        session.execute("DELETE FROM seal_checkpoints WHERE number = 2; DELETE FROM seal_trees")
        session.execute("INSERT INTO seal_trees SELECT * FROM older")
    for events in (0, 2):
        append(events)
        with pytest.raises(SealError, match="older backup"):
            seal(session, outside)
    assert newest(session).checkpoint.number == 1


def test_a_folder_of_another_log_is_not_written_to(
    session: Connection, new_database: Callable[..., str], outside: Outside, append: Append, tmp_path: Path
) -> None:
    for _ in range(2):
        append(2)
        seal(session, outside)
    other_url = new_database()
    with open_connection(other_url) as other:
        other.execute('SELECT append_events(gen_random_uuid(), \'[{"type": "A", "data": {}}]\')')
        with pytest.raises(SealError, match="the database has none"):
            seal(other, outside)
        seal(other, Outside(tmp_path / "its own", {}))
        (tmp_path / "its own" / "checkpoints").rename(tmp_path / "aside")
        outside.folder.path.rename(tmp_path / "its own" / "checkpoints")
        for aside in ("000000002.note", "000000001.note"):  # newer than the database, and as new
            with pytest.raises(SealError, match="belongs to the log"):
                seal(other, Outside(tmp_path / "its own", {}))
            (tmp_path / "its own" / "checkpoints" / "epoch-1" / "000000" / aside).unlink()


def test_a_note_that_the_folder_has_with_other_words_stops_it(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(2)
    seal(session, outside)
    path = outside.folder.path / "epoch-1" / "000000" / "000000001.note"
    path.write_text(path.read_text().replace("leaf 1", "leaf 2"))
    append(2)
    with pytest.raises(SealError, match="another content"):
        seal(session, outside)
    assert "leaf 2" in path.read_text()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE seal_trees SET leaves = leaves || decode(repeat('00', 32), 'hex') WHERE leaves <> ''",
        f"UPDATE seal_trees SET tiles = tiles + 1 WHERE bucket = {BUCKETS - 1}",
        "UPDATE seal_trees SET edge = decode(repeat('00', 32), 'hex')",
        "UPDATE seal_trees SET leaves = '', ids = '', tiles = 0, edge = ''",
        "DELETE FROM seal_checkpoints",
        "UPDATE seal_checkpoints SET note = replace(note, 'size 6', 'size 7')",
        "UPDATE seal_checkpoints SET note = 'none'",
        f"DELETE FROM seal_trees WHERE bucket = {BUCKETS - 1}",
    ],
)
def test_nothing_is_sealed_on_top_of_trees_that_were_changed(
    session: Connection, outside: Outside, append: Append, change: str
) -> None:
    append(6)
    seal(session, outside)
    with altering(session, "seal_trees", "seal_checkpoints"):
        session.execute(change)
    append(6)
    with pytest.raises(SealError):
        seal(session, outside)
    assert files(outside) == ["000000001.note", "key-0001.note"]


@pytest.mark.parametrize("how", ["forged", "emptied"])
def test_without_a_folder_to_compare_with_the_signature_is_what_counts(
    session: Connection, outside: Outside, append: Append, how: str
) -> None:
    append(6)
    seal(session, outside)
    outside.folder.path.rename(outside.home / "aside")
    with altering(session):
        session.execute(
            "UPDATE order_events SET created_at = 0 "
            "WHERE id = (SELECT id FROM order_events ORDER BY id LIMIT 1)"
        )
        rewrite_tiles(session)
        if how == "forged":
            forge_checkpoints(session, new_key(newest(session).checkpoint.log))
        else:
            session.execute("DELETE FROM seal_checkpoints")
    append(6)
    before = session.execute("SELECT * FROM seal_checkpoints").fetchall()
    with pytest.raises(SealError):
        seal(session, outside)
    assert session.execute("SELECT * FROM seal_checkpoints").fetchall() == before


def test_nothing_is_sealed_while_the_table_of_a_bucket_is_gone(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(30)
    session.execute(f"ALTER TABLE order_events DETACH PARTITION {part('order_events', 2)}")
    with pytest.raises(SealError, match="bucket 2"):
        seal(session, outside)


def test_a_horizon_that_somebody_wrote_into_the_table_hides_no_event(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(2)
    seal(session, outside)
    with altering(session, "seal_checkpoints"):
        session.execute("UPDATE seal_checkpoints SET horizon = 'ffffffff-ffff-7fff-bfff-ffffffffffff'")
    append(2)
    assert seal(session, outside).size == 4


def test_the_private_key_lies_in_a_file_that_nobody_else_may_read(
    session: Connection, outside: Outside, append: Append
) -> None:
    append(1)
    seal(session, outside)
    assert outside.key_file.stat().st_mode & 0o777 == 0o600
    secret = outside.key_file.read_text().strip()
    for path in outside.folder.path.rglob("*"):
        assert path.is_dir() or secret[-20:] not in path.read_text()
    for table in ("seal_keys", "seal_checkpoints"):
        assert secret[-20:] not in str(session.execute(f"SELECT * FROM {table}").fetchall())
    outside.key_file.chmod(0o640)
    append(1)
    with pytest.raises(KeyMissingError, match="chmod 600") as refused:
        seal(session, outside)
    assert secret[-20:] not in str(refused.value)


def test_the_key_can_come_from_the_environment_and_then_lies_nowhere(
    session: Connection, append: Append, home: Path
) -> None:
    key = new_key("acme.example/orders")
    given = Outside(home, {KEY_VARIABLE: f"{key.secret}\n"})
    append(1)
    done = seal(session, given)
    assert done.key == str(key.verifier)
    assert newest(session).checkpoint.log == "acme.example/orders"
    assert not given.key_file.exists()


@pytest.mark.parametrize("missing", ["gone", "another", "damaged", "empty"])
def test_without_its_key_the_log_is_not_sealed_and_no_other_key_is_made(
    session: Connection, outside: Outside, append: Append, missing: str
) -> None:
    append(1)
    seal(session, outside)
    if missing == "gone":
        outside.key_file.unlink()
    elif missing == "another":
        own = read_signing_key(outside.key_file.read_text())
        outside.key_file.write_text(new_key(own.name).secret)
    else:
        outside.key_file.write_text("" if missing == "empty" else "PRIVATE+KEY+x")
    append(1)
    with pytest.raises(KeyMissingError):
        seal(session, outside)
    assert newest(session).checkpoint.number == 1
    assert outside.key_file.exists() == (missing != "gone")


def test_whoever_keeps_the_read_models_may_seal_and_nobody_may_take_a_seal_away(
    connection: psycopg.Connection[Any], outside: Outside, append: Append, database_url: str
) -> None:
    append(20, 30)
    projector = make_login(connection, "sealing", "eventstore_projector")
    try:
        with open_connection(_as(database_url, projector)) as own:
            assert seal(own, outside).events == 600
            append(3)
            assert seal(own, outside).events == 3
            for table in ("seal_tiles", "seal_checkpoints", "seal_keys", "seal_trees", "seal_timestamps"):
                for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        own.execute(statement)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute("UPDATE seal_tiles SET root = root")
    finally:
        drop_logins(connection)
    for statement in (
        "UPDATE seal_tiles SET root = root",
        "DELETE FROM seal_checkpoints",
        "TRUNCATE seal_keys",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="what was sealed stays"):
            connection.execute(statement)


def test_readers_may_read_seals_and_writers_may_not(
    connection: psycopg.Connection[Any],
    outside: Outside,
    session: Connection,
    append: Append,
    database_url: str,
) -> None:
    append(1)
    seal(session, outside)
    tables = (
        "seal_tiles",
        "seal_trees",
        "seal_checkpoints",
        "seal_keys",
        "seal_timestamps",
        "seal_verification",
    )
    try:
        reader = make_login(connection, "reading", "eventstore_reader")
        writer = make_login(connection, "writing", "eventstore_writer", "eventstore_ingester")
        with psycopg.connect(_as(database_url, reader), autocommit=True) as own:
            for table in tables:
                own.execute(f"SELECT * FROM {table}")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    own.execute(f"INSERT INTO {table} SELECT * FROM {table}")
        with psycopg.connect(_as(database_url, writer), autocommit=True) as own:
            for table in tables:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    own.execute(f"SELECT * FROM {table}")
    finally:
        drop_logins(connection)


def test_what_is_copied_outside_survives_a_crash_of_the_database(
    session: Connection, outside: Outside, append: Append
) -> None:
    session.execute("SET synchronous_commit = off")
    seen = []
    append(1)

    class Watching(Outside):
        def signing_key(self):  # type: ignore[no-untyped-def]
            seen.append(session.execute("SHOW synchronous_commit").fetchone())
            return super().signing_key()

    seal(session, Watching(outside.home, {}))
    assert ("local",) in seen
    assert session.execute("SHOW synchronous_commit").fetchone() == ("off",)


def _as(url: str, login: str) -> str:
    return psycopg.conninfo.make_conninfo(url, user=login, password="hush")
