"""The embedded server has room for the locks of all buckets; a server that is not ours is left as it is."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp
from threading import Barrier
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.log.room_for_locks import make_room
from eventstore.server import embedded
from tests.shipped import upgrade

BUCKETS = 256
EVENT = Jsonb([{"type": "OrderDelivered", "data": {}}])


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a server of its own: it is started again."""
    made = Path(mkdtemp(prefix="locks-", dir=os.environ["EVENTSTORE_TEST_FOLDER"]))
    yield made
    embedded.stop(made)


def asked(url: str, query: str) -> Any:
    with psycopg.connect(url) as connection:
        return (connection.execute(query.encode()).fetchone() or (None,))[0]


def locks(url: str) -> int:
    return int(asked(url, "SELECT current_setting('max_locks_per_transaction')"))


def test_the_embedded_server_is_given_room_at_once_and_keeps_it(home: Path) -> None:
    url = embedded.start(home)
    stopped = embedded.last_stop(home)
    upgrade(url, buckets=BUCKETS)
    assert locks(url) == 64
    assert make_room(url, home) is None
    assert locks(url) == 1024
    assert embedded.last_stop(home) == stopped  # nobody takes it for a wish
    began = asked(url, "SELECT pg_postmaster_start_time()")
    assert make_room(url, home) is None
    assert asked(url, "SELECT pg_postmaster_start_time()") == began
    embedded.stop(home)
    assert locks(embedded.start(home)) == 1024

    together = Barrier(120)

    def append() -> None:
        with psycopg.connect(url) as connection:
            together.wait(60)
            connection.execute("SELECT append_events(%s, %s)", (uuid4(), EVENT))
            together.wait(60)  # all hold what the first append of a session locks

    with ThreadPoolExecutor(together.parties) as threads:
        for each in [threads.submit(append) for _ in range(together.parties)]:
            each.result()
    assert asked(url, "SELECT count(*) FROM order_events") == together.parties


def test_nobody_is_thrown_out_for_it(home: Path) -> None:
    url = embedded.start(home)
    upgrade(url, buckets=32)
    with psycopg.connect(url) as somebody:
        sentence, remedy = make_room(url, home) or ("", "")
        assert "with 32 buckets and max_locks_per_transaction = 64" in sentence
        assert remedy.startswith("eventstore down;")
        assert somebody.execute("SELECT 1").fetchone() == (1,)
    embedded.stop(home)
    assert locks(embedded.start(home)) == 128


def test_a_server_that_is_not_ours_is_left_as_it_is(home: Path) -> None:
    url = embedded.start(home)
    upgrade(url, buckets=32)
    _, remedy = make_room(url, None) or ("", "")
    assert "ALTER SYSTEM SET max_locks_per_transaction = 128" in remedy
    assert asked(url, "SELECT count(*) FROM pg_file_settings WHERE name = 'max_locks_per_transaction'") == 0


def test_with_as_few_buckets_as_ever_nothing_is_changed(home: Path) -> None:
    url = embedded.start(home)
    upgrade(url, buckets=16)
    began = asked(url, "SELECT pg_postmaster_start_time()")
    assert make_room(url, home) is None
    assert (locks(url), asked(url, "SELECT pg_postmaster_start_time()")) == (64, began)
