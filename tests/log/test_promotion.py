"""A standby takes over from a primary: each follower goes on exactly, or is told the range."""

import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.log import feed
from eventstore.log.append import append_json
from eventstore.log.epochs import epochs
from eventstore.log.errors import EpochError
from eventstore.log.position import START, Position
from tests.log import journals
from tests.log.standbys import caught_up, eventually, primary_server, promote, standby_of

Connection = psycopg.Connection[Any]
SHIPPED = {"type": "OrderShipped", "data": {}}
ORDER = UUID(int=1)  # within an order ids rise


class Follower:
    """Keeps its position, and what it was given, in a database of its own."""

    def __init__(self, mine: Connection) -> None:
        self.mine = mine
        mine.execute("CREATE TABLE given (id uuid, nth bigint GENERATED ALWAYS AS IDENTITY)")
        mine.execute("CREATE TABLE position (epoch int, id uuid)")
        mine.execute("INSERT INTO position VALUES (%s, %s)", START)

    @property
    def position(self) -> Position:
        epoch, event_id = self.mine.execute("SELECT epoch, id FROM position").fetchone() or START
        return Position(epoch, event_id)

    @property
    def given(self) -> list[UUID]:
        return [row[0] for row in self.mine.execute("SELECT id FROM given ORDER BY nth")]

    def take(self, server: Connection, limit: int = 100) -> bool:
        """A page, if there is one. Its events and the position behind them are kept in one transaction."""
        page = feed.read_page(server, self.position, limit)
        with self.mine.transaction(), self.mine.cursor() as cursor:
            cursor.executemany("INSERT INTO given (id) VALUES (%s)", [(event.id,) for event in page.events])
            cursor.execute("UPDATE position SET epoch = %s, id = %s", page.position)
        return bool(page.events)

    def go_on(self, server: Connection) -> Position | None:
        """To the end of the feed; accepts what there is to accept, and returns from where it went on."""
        accepted = None
        try:
            feed.read_page(server, self.position, 1)
        except EpochError as told:
            accepted = told.accepted
            self.mine.execute("UPDATE position SET epoch = %s, id = %s", accepted)
        while self.take(server):
            pass
        return accepted


@pytest.fixture
def follower(new_database: Callable[..., str]) -> Follower:
    return Follower(psycopg.connect(new_database(migrated=False), autocommit=True))


def append(connection: Connection) -> UUID:
    (recorded,) = append_json(connection, ORDER, [SHIPPED])
    return recorded.id


def log_of(connection: Connection) -> list[UUID]:
    return [row[0] for row in connection.execute("SELECT id FROM order_events ORDER BY id")]


def cut_off(standby: Connection) -> None:
    """From now on it gets nothing from the primary."""
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    eventually(lambda: standby.execute("SELECT count(*) FROM pg_stat_wal_receiver").fetchone() == (0,))


def test_a_follower_that_was_given_more_than_the_standby_got_is_told_exactly_what(follower: Follower) -> None:
    with primary_server() as primary, standby_of(primary) as standby:
        with primary.connect() as before, standby.connect() as replica:
            common = [append(before) for _ in range(5)]
            assert follower.take(before)
            caught_up(before, replica)
            cut_off(replica)
            lost = [append(before) for _ in range(3)]
            assert follower.take(before)
        assert follower.given == common + lost
        primary.kill()
        promote(standby)
        with standby.connect() as after:
            with pytest.raises(EpochError, match=f"above {common[-1]} up to {lost[-1]}") as told:
                feed.read_page(after, follower.position)
            assert told.value.accepted == Position(2, common[-1])
            new = [append(after) for _ in range(2)]
            assert min(new) > max(lost)
            assert follower.go_on(after) == Position(2, common[-1])
            assert follower.given == common + lost + new
            assert log_of(after) == common + new
            assert [(epoch.kind, epoch.last_id) for epoch in epochs(after)] == [("promotion", common[-1])]


def test_after_a_switch_over_in_which_nothing_was_lost_nobody_is_told_anything(follower: Follower) -> None:
    with primary_server() as primary, standby_of(primary) as standby:
        with primary.connect() as before, standby.connect() as replica:
            seen = [append(before) for _ in range(5)]
            assert follower.take(before)
            unseen = append(before)
            caught_up(before, replica)
        primary.stop()
        promote(standby)
        with standby.connect() as after:
            new = append(after)
            assert follower.go_on(after) is None
        assert follower.given == [*seen, unseen, new]


def test_in_the_middle_of_a_load_a_follower_goes_on_exactly_or_is_told_the_range(
    follower: Follower, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    context = multiprocessing.get_context("spawn")
    with primary_server() as primary, standby_of(primary) as standby:
        writers = [
            context.Process(
                target=journals.write_until, args=(stop, url, tmp_path / f"journal{number}.txt", 4, number)
            )
            for number, url in enumerate([primary.url, primary.url, standby.url])
        ]
        for writer in writers[:2]:
            writer.start()
        try:
            with suppress(psycopg.OperationalError), primary.connect() as before:
                while len(follower.given) < 500:
                    follower.take(before, 20)
                primary.kill()
            promote(standby)
            writers[2].start()
            with standby.connect() as after:
                accepted = follower.go_on(after)
                begun = epochs(after)[0]
                eventually(lambda: follower.go_on(after) is None and len(follower.given) > 700)
        finally:
            stop.touch()
            for writer in writers:
                if writer.pid is not None:
                    writer.join()
        assert [writer.exitcode for writer in writers] == [0, 0, 0]
        with standby.connect() as after:
            follower.go_on(after)
            log = log_of(after)
    given = follower.given
    assert [event_id for event_id in log if event_id <= begun.last_id] == [
        event_id for event_id in given if event_id <= begun.last_id
    ], "up to the end of the epoch both histories are the same"
    again = [event_id for event_id in set(given) if given.count(event_id) > 1]
    if accepted is None:
        assert (again, set(given)) == ([], set(log))
    else:
        assert accepted == Position(2, begun.last_id)
        assert all(event_id > begun.last_id for event_id in again)
        assert set(log) <= set(given)
        assert all(event_id > begun.last_id for event_id in set(given) - set(log))
