"""`replay --workers`: the same tables as one process makes; whichever is killed, what stands stays."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import psycopg
import pytest

from eventstore.orders.domain import ORDERS
from tests.buckets import BUCKETS, part
from tests.killing import until

Connection = psycopg.Connection[Any]
Cli = Callable[..., Any]
COMMAND = [sys.executable, "-c", "from eventstore.face.cli import main; main()", "replay", "orders"]
PAID = '{"amount": "12.50", "currency": "EUR"}'
HELD = 3
ALL_BUT_ONE = set(range(BUCKETS)) - {HELD}
STAND = f"({BUCKETS - 2}|{BUCKETS - 1}) of {BUCKETS} buckets of orders stand"


@pytest.fixture
def refreshed(cli: Cli, connection: Connection) -> None:
    """60 orders in all buckets, each with a late event, in `orders` and `order_history` by a refresh."""
    connection.execute(
        "SELECT append_events(order_id, jsonb_build_array("
        "       jsonb_build_object('type', 'OrderPaid', 'data', %(paid)s::jsonb, 'created_at', n),"
        "       jsonb_build_object('type', 'OrderShipped', 'data', '{}'::jsonb, 'created_at', n + 2)))"
        "  FROM (SELECT n, md5(n::text)::uuid AS order_id FROM generate_series(1, 60) n) orders",
        {"paid": PAID},
    )
    connection.execute(
        "SELECT append_events(md5(n::text)::uuid, jsonb_build_array("
        "       jsonb_build_object('type', 'OrderDelivered', 'data', '{}'::jsonb, 'created_at', n + 1)))"
        "  FROM generate_series(1, 60) n"
    )
    buckets = connection.execute("SELECT DISTINCT order_bucket(order_id) FROM order_events").fetchall()
    assert len(buckets) == BUCKETS
    cli("refresh")


def standing(connection: Connection) -> set[int]:
    rows = connection.execute("SELECT bucket FROM replay_buckets WHERE projection = 'orders'")
    return {bucket for (bucket,) in rows}


@pytest.mark.usefixtures("refreshed")
def test_workers_make_the_tables_that_refreshes_made(cli: Cli, connection: Connection) -> None:
    (before,) = connection.execute("SELECT count(*) FROM order_history").fetchone() or (0,)
    done = cli("replay", "--workers", 2, "--json").json
    for name, rows in (("orders", 60), ("order_history", before)):
        table = done["projections"][name]
        assert (table["events"], table["rows"]) == (180, rows)
        assert (table["added"], table["changed"], table["gone"]) == (0, 0, 0)


@contextmanager
def at_work(
    database_url: str, connection: Connection
) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """The command and its two workers, one of which waits for a bucket that is locked: the last one."""
    with psycopg.connect(database_url) as other:
        other.execute(f"LOCK TABLE {part(ORDERS.candidate, HELD)} IN SHARE MODE")
        process = subprocess.Popen(
            [*COMMAND, "--workers", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            until(lambda: standing(connection) == ALL_BUT_ONE)
            spawned = psutil.Process(process.pid).children()
            workers = [each for each in spawned if any("spawn_main" in word for word in each.cmdline())]
            assert len(workers) == 2
            yield process, workers
        finally:
            process.kill()


@pytest.mark.usefixtures("refreshed")
def test_whoever_is_killed_or_stopped_the_buckets_that_stand_stay(
    cli: Cli, database_url: str, connection: Connection
) -> None:
    with at_work(database_url, connection) as (process, workers):
        for worker in workers:  # one of them is at work; the other is ended at once when that one is gone
            with suppress(psutil.NoSuchProcess):
                worker.kill()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: a worker of the replay is gone")
    assert re.search(STAND, err)  # the last word of a worker may be under way

    connection.execute("DELETE FROM replay_buckets")
    with at_work(database_url, connection) as (process, workers):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (130, "", 1)
    assert re.match(f"stopped: {STAND}", err)
    assert not any(worker.is_running() for worker in workers)

    connection.execute("DELETE FROM replay_buckets")
    with at_work(database_url, connection) as (process, workers):
        process.kill()
        process.wait()
        assert standing(connection) == ALL_BUT_ONE
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []

    done = cli("replay", "orders", "--continue", "--json").json
    assert connection.execute(
        "SELECT count(*) FROM order_events WHERE order_bucket(order_id) = %s", (HELD,)
    ).fetchone() == (done["events"],)
    assert (done["added"], done["changed"], done["gone"]) == (0, 0, 0)


def test_a_worker_says_why_it_cannot_go_on(cli: Cli, connection: Connection) -> None:
    connection.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE disk_full USING MESSAGE = 'no space left'; END $$"
    )
    connection.execute(
        "CREATE TRIGGER full_disk BEFORE INSERT ON replay_buckets EXECUTE FUNCTION full_disk()"
    )
    ran = cli("replay", "--workers", 2)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "no space left" in ran.err
    assert f"0 of {BUCKETS} buckets of orders stand" in ran.err


@pytest.mark.parametrize("number", ["0", "-1", "17", "two", ""])
def test_a_number_of_workers_that_makes_no_sense_is_a_mistake(cli: Cli, number: str) -> None:
    ran = cli("replay", "--workers", number)
    assert (ran.code, ran.out) == (2, "")
    assert "--workers" in ran.err
