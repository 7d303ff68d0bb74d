"""A database of revision 0003 with all that no later one takes: upgraded, dumped, restored, replicated, every
row of its log arrives as it is and everything runs.
"""

import re
import subprocess
from collections.abc import Callable
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.server.cluster import program
from tests.buckets import part
from tests.robustness import old_release
from tests.robustness.everything import done, run_everything
from tests.robustness.naive import Given, naive
from tests.robustness.old_release import YEAR_5000, YEAR_10000, OldDatabase, fingerprint, waiting
from tests.robustness.senders import append_good
from tests.shipped import upgrade


def runs(url: str, old: OldDatabase) -> None:
    """Everything, with what was there and with what comes."""
    good = dict(old.good)
    paid = Given("OrderPaid", 50 * old_release.DAY_MS, "4.00")
    with psycopg.connect(url, autocommit=True) as connection:
        for order in [uuid4(), *list(good)[:2]]:
            append_good(connection, order, paid)
            good[order] = [*good.get(order, []), paid]
        for table in ("order_events", part("order_events", 0)):
            for change in ("DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET version = version"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(change.format(table))
    run_everything(url, good, old.bad, waiting=waiting(url))


def views_of_the_team_are_right(url: str, good: dict[UUID, list[Given]]) -> None:
    with psycopg.connect(url) as connection:
        order, events = next(iter(good.items()))
        paid = connection.execute("SELECT paid_for(%s)", (order,)).fetchone()
        assert paid == (naive(events).paid,)
        assert connection.execute("SELECT obj_description('paid'::regclass)").fetchone() == ("of the team",)
        connection.execute("SET ROLE eventstore_reader")
        assert len(connection.execute("SELECT * FROM paid_by_customer").fetchall()) == 5


@pytest.mark.parametrize("moved_to", [None, YEAR_5000, YEAR_10000], ids=["sane", "5000", "10000"])
def test_it_is_upgraded(new_database: Callable[..., str], moved_to: UUID | None) -> None:
    url = new_database(migrated=False)
    old = old_release.make(url, moved_to)
    before = fingerprint(url)
    upgrade(url)
    assert fingerprint(url) == before
    if moved_to is None:
        done(url, "refresh")
        views_of_the_team_are_right(url, old.good)
    runs(url, old)


def dump(url: str, *options: str) -> bytes:
    ran = subprocess.run([program("pg_dump"), *options, url], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def load(url: str, dumped: bytes) -> str:
    """What a program said that was to restore a dump."""
    with psycopg.connect(url) as connection:
        is_older = connection.info.server_version < 180000  # than pg_dump, and does not know all its settings
    command = [str(program("psql")), "--quiet", "--set=ON_ERROR_STOP=1", url]
    if dumped.startswith(b"PGDMP"):
        command = [
            str(program("pg_restore")),
            "--exit-on-error",
            f"--{'file=-' if is_older else f'dbname={url}'}",
        ]
    if is_older:
        dumped = re.sub(rb"^SET transaction_timeout = 0;$", b"", dumped, flags=re.MULTILINE)
    ran = subprocess.run(command, input=dumped, capture_output=True, check=False)
    if is_older and dumped.startswith(b"PGDMP"):
        return load(url, ran.stdout)
    return ran.stderr.decode()


@pytest.mark.parametrize("revision", ["0003", "head"])
@pytest.mark.parametrize("dump_format", ["plain", "custom"])
def test_it_is_dumped_and_restored(new_database: Callable[..., str], dump_format: str, revision: str) -> None:
    source, target = new_database(migrated=False), new_database(migrated=False)
    old = old_release.make(source)
    upgrade(source, revision)
    assert load(target, dump(source, f"--format={dump_format}")) == ""
    assert fingerprint(target) == fingerprint(source)
    upgrade(target)
    assert fingerprint(target) == fingerprint(source)
    if (dump_format, revision) == ("custom", "0003"):
        runs(target, old)


@pytest.mark.parametrize("revision", ["0003", "head"])
def test_its_log_alone_is_restored_by_who_says_so(new_database: Callable[..., str], revision: str) -> None:
    source, target = new_database(migrated=False), new_database()
    old = old_release.make(source)
    upgrade(source, revision)
    data = dump(source, "--data-only", "--table=order_events*")
    said = load(target, data)
    assert "events are appended by append_events(), not by INSERT or COPY into order_events_" in said
    assert "SET LOCAL eventstore.restoring = 'on'" in said
    assert fingerprint(target)[0] == 0
    assert load(target, b"BEGIN; SET LOCAL eventstore.restoring = 'on';\n" + data + b"COMMIT;\n") == ""
    assert fingerprint(target) == fingerprint(source)
    if revision == "head":
        runs(target, old)
