"""Dumps with roles, from and to servers of every version that is here."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
import pytest
from psycopg import sql

from eventstore.log.schema import migrate
from eventstore.server.backup import catalogue, dump
from eventstore.server.errors import ServerError
from eventstore.server.urls import with_database
from tests.damage import change_a_bit
from tests.killing import running, until
from tests.log.schema_objects import objects
from tests.robustness import old_release
from tests.robustness.old_release import fingerprint
from tests.server.clusters import server_of

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def fifteen() -> Iterator[str]:
    with server_of(15) as url:
        yield url


@pytest.fixture(scope="module")
def other_fifteen() -> Iterator[str]:
    with server_of(15) as url:
        yield url


def filled(url: str) -> str:
    """A database with every kind of event that there ever was, brought up to date."""
    old_release.make(url)
    migrate.upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP VIEW paid_by_customer, paid; DROP FUNCTION paid_for")
    return url


def made(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    return with_database(server, name)


def schema_of(url: str) -> dict[tuple[str, str], str]:
    """Without constraints that only say NOT NULL: PostgreSQL 18 names them, and a dump names them anew."""
    with psycopg.connect(url) as connection:
        found = objects(connection)
    return {key: how for key, how in found.items() if not how.startswith("NOT NULL")}


def test_a_dump_is_the_same_database_elsewhere(new_database: Callable[..., str], tmp_path: Path) -> None:
    source = filled(new_database(migrated=False))
    target = new_database(migrated=False)
    found = dump.take(source, tmp_path)
    assert dump.restore(found, target, lambda url: url) == target
    assert fingerprint(target) == fingerprint(source)
    assert schema_of(target) == schema_of(source)


@pytest.mark.parametrize("to", ["18", "15"])
def test_of_an_older_server_into_a_newer_and_into_the_same_version(
    fifteen: str, other_fifteen: str, new_database: Callable[..., str], tmp_path: Path, to: str
) -> None:
    source = filled(made(fifteen, f"source_{to}"))
    with psycopg.connect(fifteen, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE shop_{to} LOGIN PASSWORD 'hush' IN ROLE eventstore_writer")
    target = new_database(migrated=False) if to == "18" else with_database(other_fifteen, "restored")
    found = dump.take(source, tmp_path)
    try:
        dump.restore(found, target, migrate.upgrade)
        assert fingerprint(target) == fingerprint(source)
        with psycopg.connect(target, autocommit=True) as there:
            member = there.execute(
                "SELECT pg_has_role(%s, 'eventstore_writer', 'MEMBER')", (f"shop_{to}",)
            ).fetchone()
            hashes = there.execute(
                "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (f"shop_{to}",)
            ).fetchone()
        assert member == (True,)
        with psycopg.connect(source) as here:
            assert (
                hashes
                == here.execute(
                    "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (f"shop_{to}",)
                ).fetchone()
            )
        with psycopg.connect(target, user=f"shop_{to}", password="hush") as shop:
            shop.execute("SELECT append_events(%s, '[]')", (uuid4(),))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                shop.execute("SELECT count(*) FROM order_events")
    finally:
        with psycopg.connect(target, autocommit=True) as there:
            there.execute(f"DROP ROLE IF EXISTS shop_{to}")


def test_a_database_with_something_in_it_is_refused(new_database: Callable[..., str], tmp_path: Path) -> None:
    source, target = filled(new_database(migrated=False)), new_database(migrated=False)
    with psycopg.connect(target) as connection:
        connection.execute("CREATE TABLE mine ()")
    with pytest.raises(ServerError, match="not empty"):
        dump.restore(dump.take(source, tmp_path), target, lambda _: None)
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT to_regclass('order_events'), to_regclass('mine')").fetchone() == (
            None,
            "mine",
        )


def test_a_damaged_dump_leaves_nothing_behind(new_database: Callable[..., str], tmp_path: Path) -> None:
    source = filled(new_database(migrated=False))
    taken = dump.take(source, tmp_path)
    of_an_older_release = msgspec.structs.replace(taken.backup, checksums={})
    found = catalogue.Found(taken.folder, of_an_older_release)
    file = found.folder / "store.dump"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    empty, missing = new_database(migrated=False), f"eventstore_test_missing_{uuid4().hex[:8]}"
    for target in (empty, with_database(source, missing)):
        with pytest.raises(ServerError, match="failed"):
            dump.restore(found, target, lambda _: None)
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('order_events')").fetchone() == (None,)
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", (missing,)).fetchone() is None


def test_a_dump_with_a_changed_bit_is_found_out_before_anything_is_made(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    source = filled(new_database(migrated=False))
    found = dump.take(source, tmp_path)
    assert list(catalogue.all_of(tmp_path)) == [found]
    file = found.folder / "store.dump"
    change_a_bit(file, file.stat().st_size // 2)
    missing = f"eventstore_test_missing_{uuid4().hex[:8]}"
    with pytest.raises(ServerError, match=r"is damaged: store\.dump is not what was written"):
        dump.restore(found, with_database(source, missing), lambda _: None)
    file.unlink()
    with pytest.raises(ServerError, match=r"cannot be read: store\.dump: No such file"):
        dump.restore(found, with_database(source, missing), lambda _: None)
    with psycopg.connect(source) as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = %s", (missing,)).fetchone() is None


_HELD = 4711
_RESTORE = """
import sys
from pathlib import Path
from eventstore.server.backup import catalogue, dump
[found] = catalogue.all_of(Path({backups!r}))
dump.restore(found, sys.argv[1], lambda url: url)
"""


def test_one_that_is_killed_in_the_middle_leaves_nothing_behind(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    source, target = filled(new_database(migrated=False)), new_database(migrated=False)
    dump.take(source, tmp_path)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_HELD,))
        connection.execute(
            "CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_advisory_lock({_HELD}); END $$"
        )
        connection.execute(
            "CREATE EVENT TRIGGER wait ON ddl_command_end "
            "WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION wait()"
        )
        with running(_RESTORE.format(backups=str(tmp_path)), target) as process:
            until(lambda: _sessions(connection, "wait_event = 'advisory'") == 1)  # all tables are made
            process.kill()
            process.wait()
            connection.execute("SELECT pg_advisory_unlock(%s)", (_HELD,))
            until(lambda: _sessions(connection, "pid <> pg_backend_pid()") == 0)
        assert connection.execute("SELECT to_regclass('order_events')").fetchone() == (None,)


def _sessions(connection: Connection, which: str) -> int:
    (number,) = connection.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {which}".encode()
    ).fetchone() or (0,)
    return int(number)


def test_who_may_not_create_roles_is_told_what_an_administrator_runs(fifteen: str, tmp_path: Path) -> None:
    source = filled(made(fifteen, "of_shop"))
    found = dump.take(source, tmp_path)
    with server_of(15) as bare:
        with psycopg.connect(bare, autocommit=True) as admin:
            admin.execute("CREATE ROLE plain LOGIN CREATEDB")
        target = with_database(bare, "of_plain").replace("admin@", "plain@")
        with pytest.raises(ServerError, match=r"administrator run .*roles\.sql"):
            dump.restore(found, target, lambda _: None)
        with psycopg.connect(bare, autocommit=True) as admin:
            assert admin.execute("SELECT FROM pg_database WHERE datname = 'of_plain'").fetchone() is None
            admin.execute((found.folder / "roles.sql").read_text().encode())
        dump.restore(found, target, migrate.upgrade)
        assert fingerprint(target) == fingerprint(source)


def test_a_password_is_seen_by_nobody_who_lists_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    from eventstore.server.backup import programs  # noqa: PLC0415

    conninfo, environment = programs.connection("postgresql://ann:hush@host:5433/shop?sslmode=require")
    assert "hush" not in conninfo
    assert environment["PGPASSWORD"] == "hush"
    monkeypatch.setenv("PGPORT", "1")
    assert "PGPORT" not in programs.connection("postgresql://ann@host/shop")[1]
