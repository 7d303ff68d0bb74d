"""A hundred and more alterations by who owns the database, with triggers off: all are found, and named."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from eventstore.log.connection import Connection, open_connection
from eventstore.log.schema import migrate
from eventstore.seals.errors import SealError
from eventstore.seals.note import new_key
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal
from eventstore.seals.verifying import ALTERED, INTACT, Verified, verify
from eventstore.server.urls import with_database
from tests.buckets import BUCKETS
from tests.seals.events import append_orders
from tests.seals.tampering import altering, forge_checkpoints, rewrite_tiles

#: Of each kind; eight kinds.
TIMES = 13
SEED = int(os.environ.get("SEED", "20260303"))

Random = random.Random


class Done(NamedTuple):
    """What was done to the log."""

    events: set[UUID]  #: that a verification has to name
    kinds: set[str]  #: as which of these
    words: str  #: for whoever reads a failure


Attack = Callable[[Connection, Random], Done]


class Sealed(NamedTuple):
    """A log that was sealed in several steps, as databases to be copied: now, and as it was before."""

    now: str
    before: str
    home: Path


@pytest.fixture(scope="module")
def sealed(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    home = tmp_path_factory.mktemp("home")
    prefix = f"eventstore_test_{os.environ['EVENTSTORE_TEST_SESSION']}_seals_{os.getpid()}"
    now, before = f"{prefix}_now", f"{prefix}_before"
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(now)))
        url = with_database(server_url, now)
        migrate.upgrade(url, buckets=BUCKETS)
        for orders, events in ((40, 8), (2, 600), (60, 30)):
            with open_connection(url) as session:
                append_orders(session, orders, events)
                seal(session, Outside(home, {}), step=700)
            if orders == 2:
                copy(server, now, before)
        yield Sealed(now, before, home)
        for name in (now, before):
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def copy(server: psycopg.Connection[Any], source: str, name: str) -> None:
    server.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(name), sql.Identifier(source)
        )
    )


@pytest.fixture
def victim(sealed: Sealed, server_url: str) -> Iterator[Callable[[str], Connection]]:
    """Makes a copy of a database; the one before goes."""
    name = f"{sealed.now}_victim"
    opened: list[Connection] = []
    with psycopg.connect(server_url, autocommit=True) as server:

        def make(source: str) -> Connection:
            for before in opened:
                before.close()
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            copy(server, source, name)
            opened.append(open_connection(with_database(server_url, name)))
            return opened[-1]

        yield make
        for one in opened:
            one.close()
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def any_column(connection: Connection, chance: Random) -> Done:
    """One event, one column."""
    id_, order_id = an_event(connection, chance)
    column, value = chance.choice(
        [
            ("id", f"'{a_close_id(id_, chance)}'"),
            ("order_id", f"'{UUID(int=chance.getrandbits(128), version=4)}'"),
            ("version", "version + 1000"),
            ("event_type", "event_type || 'x'"),
            ("event_data", "event_data || '{\"extra\": null}'"),
            ("event_data", "jsonb_set(event_data, '{a}', '1.0')"),
            ("created_at", f"created_at + {chance.choice([-1, 1, 86_400_000])}"),
            ("source", "'/elsewhere', source_id = coalesce(source_id, 'x')"),
            ("source_id", "coalesce(source_id, '') || 'x', source = coalesce(source, '/x')"),
            ("metadata", 'metadata || \'{"actor": "mallory"}\''),
        ]
    )
    with altering(connection):
        connection.execute(
            f"UPDATE order_events SET {column} = {value} WHERE id = %s AND order_id = %s", (id_, order_id)
        )
    return Done({id_}, {"altered", "moved"}, f"{column} = {value} of {id_}")


def insert(connection: Connection, chance: Random) -> Done:
    """An event that claims to have been recorded long ago."""
    id_, order_id = an_event(connection, chance)
    new = a_close_id(id_, chance)
    with altering(connection):
        connection.execute(
            "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
            "SELECT %s, order_id, 5000, event_type, event_data, created_at FROM order_events WHERE id = %s "
            "AND order_id = %s",
            (new, id_, order_id),
        )
    return Done({new}, {"inserted"}, f"{new} beside {id_}")


def delete(connection: Connection, chance: Random) -> Done:
    """Some events, of different orders or of one."""
    gone = {an_event(connection, chance)[0] for _ in range(chance.choice([1, 1, 1, 4]))}
    with altering(connection):
        connection.execute("DELETE FROM order_events WHERE id = ANY(%s)", (list(gone),))
    return Done(gone, {"removed", "cut_off"}, f"without {gone}")


def swap(connection: Connection, chance: Random) -> Done:
    """Two events exchange what they say."""
    one = an_event(connection, chance)[0]
    while True:
        column = chance.choice(["event_data", "created_at", "event_type", "id"])
        two = an_event(connection, chance)[0]
        values = connection.execute(
            f"SELECT {column}::text FROM order_events WHERE id = ANY(%s)", ([one, two],)
        ).fetchall()
        if len(values) == 2 and values[0][0] != values[1][0]:
            break
    with altering(connection):
        connection.execute(
            f"UPDATE order_events e SET {column} = o.{column} FROM order_events o "
            "WHERE e.id = ANY(%(two)s) AND o.id = ANY(%(two)s) AND e.id <> o.id",
            {"two": [one, two]},
        )
    return Done({one, two}, {"altered", "moved"}, f"{column} of {one} and {two}")


def cut_the_tail(connection: Connection, chance: Random) -> Done:
    """The newest events, as if they had never been."""
    count = chance.choice([1, 2, 10, 500])
    with altering(connection):
        rows = connection.execute(
            "DELETE FROM order_events WHERE id IN (SELECT id FROM order_events ORDER BY id DESC LIMIT %s) "
            "RETURNING id",
            (count,),
        ).fetchall()
    return Done({row[0] for row in rows}, {"cut_off"}, f"{count} events cut off")


def alter_with_tiles(connection: Connection, chance: Random) -> Done:
    """An alteration that goes with its hashes, everywhere in the database but in the checkpoints."""
    done = chance.choice([any_column, insert, delete, swap])(connection, chance)
    with altering(connection):
        rewrite_tiles(connection)
    return Done(set(), {"rewritten"}, f"{done.words}, tiles too")


def alter_with_checkpoints(connection: Connection, chance: Random) -> Done:
    """… and in the checkpoints, too. The key is what nobody in the database has."""
    done = alter_with_tiles(connection, chance)
    mallory = new_key(log_of(connection))
    how = chance.choice(["all", "newest", "all and the key", "none is left", "the end is gone"])
    with altering(connection):
        if how == "none is left":
            connection.execute(
                "DELETE FROM seal_timestamps; DELETE FROM seal_checkpoints; DELETE FROM seal_keys"
            )
        elif how == "the end is gone":
            connection.execute(
                "DELETE FROM seal_checkpoints WHERE number > (SELECT max(number) - 2 FROM seal_checkpoints)"
            )
            rewrite_tiles(connection)
        else:
            (last,) = connection.execute("SELECT max(number) FROM seal_checkpoints").fetchone() or (0,)
            forge_checkpoints(connection, mallory, [last] if how == "newest" else None)
        if how == "all and the key":
            connection.execute("UPDATE seal_keys SET vkey = %s", (str(mallory.verifier),))
    return Done(set(), {"rewritten", "checkpoint_forged", "checkpoint_missing"}, f"{done.words}; {how}")


def older_backup(connection: Connection, chance: Random) -> Done:
    """The database as it was before; perhaps others have appended since."""
    events = chance.choice([0, 1, 7, 700])
    if events:
        append_orders(connection, events)
    return Done(set(), {"cut_off", "checkpoint_missing"}, f"an older backup, and {events} events")


KINDS: list[Attack] = [
    any_column,
    insert,
    delete,
    swap,
    cut_the_tail,
    alter_with_tiles,
    alter_with_checkpoints,
    older_backup,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_alteration_is_found_and_named(
    sealed: Sealed, victim: Callable[[str], Connection], kind: Attack
) -> None:
    chance = random.Random(f"{SEED} {kind.__name__}")
    outside = Outside(sealed.home, {})
    for number in range(TIMES):
        connection = victim(sealed.before if kind is older_backup else sealed.now)
        done = kind(connection, chance)
        found = verify(connection, outside, workers=2)
        told = f"SEED={SEED} {kind.__name__} {number}: {done.words}\n{found.problems[:5]}"
        assert found.verdict == ALTERED, told
        assert {problem.kind for problem in found.problems} & done.kinds, told
        if done.events:
            named = {problem.id for problem in found.problems}
            assert named == done.events, told
            assert found.problem_count == len(done.events), told
        _orders_and_versions_are_right(connection, found)
        if kind in (alter_with_tiles, alter_with_checkpoints, older_backup):
            _is_not_sealed(connection, outside, told)


def test_the_log_that_was_not_altered_is_intact(sealed: Sealed, victim: Callable[[str], Connection]) -> None:
    found = verify(victim(sealed.now), Outside(sealed.home, {}))
    assert (found.verdict, found.problems, found.doubts) == (INTACT, [], [])
    assert found.verified == found.sealed == 40 * 8 + 2 * 600 + 60 * 30


def _is_not_sealed(connection: Connection, outside: Outside, told: str) -> None:
    """What was altered together with its seals is not signed the next time."""
    append_orders(connection, 3)
    before = {path: path.read_bytes() for path in outside.folder.path.rglob("*.note")}
    with pytest.raises(SealError):
        seal(connection, outside)
        pytest.fail(f"sealed: {told}")
    assert {path: path.read_bytes() for path in outside.folder.path.rglob("*.note")} == before, told


def _orders_and_versions_are_right(connection: Connection, found: Verified) -> None:
    for problem in found.problems:
        if problem.kind in ("altered", "inserted"):
            row = connection.execute(
                "SELECT order_id, version FROM order_events WHERE id = %s", (problem.id,)
            ).fetchone()
            assert row == (problem.order_id, problem.version)


def an_event(connection: Connection, chance: Random) -> tuple[UUID, UUID]:
    (count,) = connection.execute("SELECT count(*) FROM order_events").fetchone() or (0,)
    row = connection.execute(
        "SELECT id, order_id FROM order_events ORDER BY id OFFSET %s LIMIT 1", (chance.randrange(count),)
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def a_close_id(id_: UUID, chance: Random) -> UUID:
    """An id that nobody has, recorded about when that one was."""
    return UUID(int=id_.int ^ (1 + chance.getrandbits(40)))


def log_of(connection: Connection) -> str:
    row = connection.execute("SELECT split_part(note, E'\\n', 1) FROM seal_checkpoints LIMIT 1").fetchone()
    assert row is not None
    return str(row[0])
