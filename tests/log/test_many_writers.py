"""Many writers, one reader, a clock that jumps: every committed event is seen exactly once, in order."""

import multiprocessing
import os
import signal
from collections import Counter
from typing import Any
from uuid import UUID

import psycopg

from eventstore.log.connection import open_connection
from eventstore.log.feed import BEGINNING
from tests.log import writers

JUMPING_CLOCK = """
CREATE OR REPLACE FUNCTION clock_ms() RETURNS bigint LANGUAGE sql VOLATILE
    RETURN floor(date_part('epoch', clock_timestamp()) * 1000)::bigint + (random() * 2000)::bigint - 1000
"""
NO_ANNOUNCEMENT = """
CREATE OR REPLACE FUNCTION hold_horizon() RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT greatest(clock_ms(), pg_sequence_last_value(''feed_horizon'') + 1)
       FROM set_config(''eventstore.floor_id'', uuidv7_lowest(0)::text, true)'
"""

Seen = list[tuple[UUID, UUID, int]]


def follow(connection: psycopg.Connection[Any], page: int = 40) -> "tuple[Seen, Seen]":
    """What a reader of the feed and a reader of `id > last` see while the writers write."""
    context = multiprocessing.get_context("spawn")
    url = connection.info.dsn
    processes = [context.Process(target=writers.write, args=(url, seed, 45)) for seed in range(8)]
    victim = context.Process(target=writers.write_for_ever, args=(url, 99))
    feed: Seen = []
    plain: Seen = []
    for process in [*processes, victim]:
        process.start()
    try:
        while True:
            running = any(process.is_alive() for process in processes)
            if victim.is_alive() and len(feed) > 100:
                assert victim.pid is not None
                os.kill(victim.pid, signal.SIGKILL)
                victim.join()
            connection.execute("SELECT publish_horizon()")
            found = connection.execute(
                "SELECT id, order_id, version FROM read_events(%s, %s)",
                (feed[-1][0] if feed else None, page),
            ).fetchall()
            feed += found
            plain += connection.execute(
                "SELECT id, order_id, version FROM order_events WHERE id > %s ORDER BY id LIMIT %s",
                (plain[-1][0] if plain else BEGINNING, page),
            ).fetchall()
            if not running and not found and not victim.is_alive():
                break
        assert [process.exitcode for process in processes] == [0] * 8
    finally:
        for process in [*processes, victim]:
            process.kill()
    return feed, plain


def log_of(connection: psycopg.Connection[Any]) -> Seen:
    return connection.execute("SELECT id, order_id, version FROM order_events").fetchall()


def test_every_committed_event_is_seen_once_and_in_order_where_a_plain_reader_loses_some(
    database_url: str,
) -> None:
    with open_connection(database_url) as connection:
        connection.execute(JUMPING_CLOCK)
        feed, plain = follow(connection)
        log = log_of(connection)
    assert len(log) > 300
    assert Counter(feed) == Counter(log)
    versions: dict[UUID, list[int]] = {}
    for _, order_id, version in feed:
        versions.setdefault(order_id, []).append(version)
    assert all(seen == list(range(1, len(seen) + 1)) for seen in versions.values())
    assert set(log) - set(plain), "the plain reader lost nothing: this test could not fail"


def test_without_the_announcement_the_same_reader_loses_events(database_url: str) -> None:
    with open_connection(database_url) as connection:
        connection.execute(NO_ANNOUNCEMENT)
        feed, _ = follow(connection)
        assert set(log_of(connection)) - set(feed)
