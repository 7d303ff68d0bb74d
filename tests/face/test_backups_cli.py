"""backup and restore, as they are typed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore import OrderShipped, Store
from eventstore.server.backup import catalogue, dump

Cli = Callable[..., Any]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", None], ids=["empty", "cut", "no text", "a folder"])
def test_a_backup_of_which_nothing_can_be_read_is_no_obstacle_to_the_others(
    store: Store, new_database: Callable[..., str], cli: Cli, tmp_path: Path, content: bytes | None
) -> None:
    order = uuid4()
    store.append(order, OrderShipped())
    good = dump.take(store.url, tmp_path)
    bad = tmp_path / catalogue.DUMPS / "20260303T023000Z" / "backup.json"
    bad.parent.mkdir()
    bad.mkdir() if content is None else bad.write_bytes(content)
    assert catalogue.all_of(tmp_path) == [good]
    assert catalogue.unreadable(tmp_path) == [bad]
    target = new_database(migrated=False)
    for arguments in (("backup", "--list", "--to"), ("restore", "--into", target, "--from")):
        ran = cli(*arguments, tmp_path)
        assert ran.code == 0
        assert f"warning: {bad} cannot be read: that backup does not count\n" in ran.err
    with psycopg.connect(target) as connection:
        assert connection.execute("SELECT order_id FROM order_events").fetchall() == [(order,)]


def test_a_backup_of_which_nothing_can_be_read_is_not_restored_when_it_is_named(
    cli: Cli, new_database: Callable[..., str], tmp_path: Path
) -> None:
    bad = tmp_path / catalogue.DUMPS / "20260303T023000Z"
    bad.mkdir(parents=True)
    (bad / "backup.json").touch()
    ran = cli("restore", "--from", bad, "--into", new_database(migrated=False))
    assert ran.code == 2
    assert ran.err == (
        f"warning: {bad}/backup.json cannot be read: that backup does not count\n"
        f"error: {bad} is no finished backup\n"
    )
