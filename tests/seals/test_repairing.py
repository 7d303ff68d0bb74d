"""Damaged tiles and trees are made anew from the log, if the log is what was signed, and only then."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.log.connection import Connection, open_connection
from eventstore.seals.errors import SealError
from eventstore.seals.outside import Outside
from eventstore.seals.repairing import repair
from eventstore.seals.sealing import seal
from eventstore.seals.verifying import ALTERED, INTACT, verify
from tests.log.sessions import drop_logins, make_login
from tests.seals.tampering import altering

Append = Callable[..., list[UUID]]
_STATE = "SELECT bucket, tile, last_id, root, ids, leaves FROM seal_tiles ORDER BY 1, 2"
_TREES = "SELECT bucket, tiles, edge, leaves, ids FROM seal_trees ORDER BY 1"


@pytest.fixture
def sealed(session: Connection, outside: Outside, append: Append) -> list[Any]:
    """A log that was sealed twice, and its tiles and trees."""
    for orders, events in ((2, 300), (30, 5)):
        append(orders, events)
        seal(session, outside)
    return [session.execute(_STATE).fetchall(), session.execute(_TREES).fetchall()]


@pytest.mark.parametrize(
    "damage",
    [
        "TRUNCATE seal_tiles",
        "UPDATE seal_tiles SET leaves = set_byte(leaves, 1, 1), root = set_byte(root, 1, 1)",
        "UPDATE seal_trees SET tiles = 0, edge = '', leaves = '', ids = ''",
        "DELETE FROM seal_trees WHERE bucket > 3; DELETE FROM seal_tiles",
    ],
)
def test_what_was_damaged_is_as_it_was_before(
    session: Connection, outside: Outside, append: Append, sealed: list[Any], damage: str
) -> None:
    with altering(session):
        session.execute(damage)
    progress: list[int] = []
    assert repair(session, outside, on_progress=progress.append) == 750
    assert sum(progress) == 750
    assert [session.execute(_STATE).fetchall(), session.execute(_TREES).fetchall()] == sealed
    assert verify(session, outside).verdict == INTACT
    append(5)
    assert seal(session, outside).size == 755
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="what was sealed stays"):
        session.execute("DELETE FROM seal_tiles")


def test_a_log_that_was_altered_is_not_made_to_fit(
    session: Connection, outside: Outside, sealed: list[Any]
) -> None:
    with altering(session):
        session.execute(
            "UPDATE order_events SET created_at = 0 "
            "WHERE id = (SELECT id FROM order_events ORDER BY id LIMIT 1)"
        )
    with pytest.raises(SealError, match="not those that were sealed"):
        repair(session, outside)
    assert [session.execute(_STATE).fetchall(), session.execute(_TREES).fetchall()] == sealed
    assert verify(session, outside).verdict == ALTERED


@pytest.mark.usefixtures("sealed")
def test_what_is_signed_is_not_in_doubt_where_something_is_made_to_fit_it(
    session: Connection, outside: Outside
) -> None:
    with altering(session):
        session.execute("UPDATE seal_checkpoints SET note = '' WHERE number = 1")
    with pytest.raises(SealError, match="in doubt"):
        repair(session, outside)
    outside.folder.path.rename(outside.home / "aside")
    with pytest.raises(SealError, match="in doubt"):
        repair(session, outside)


@pytest.mark.usefixtures("sealed")
def test_only_the_owner_takes_tiles_away(
    connection: psycopg.Connection[Any], outside: Outside, database_url: str
) -> None:
    try:
        login = make_login(connection, "repairing", "eventstore_projector")
        url = psycopg.conninfo.make_conninfo(database_url, user=login, password="hush")
        with open_connection(url) as own, pytest.raises(psycopg.errors.InsufficientPrivilege):
            repair(own, outside)
    finally:
        drop_logins(connection)
