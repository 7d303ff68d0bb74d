"""A share a night: all is verified in turn, what failed again and again; the row says how far it is."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.log.connection import Connection, open_connection
from eventstore.log.settings import change_setting
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal
from eventstore.seals.share import Share, read_round, verify_share
from eventstore.seals.status import seal_status
from eventstore.seals.tree import TILE
from eventstore.seals.verifying import ALTERED, INTACT, UNKNOWN
from tests.buckets import part, wants_whole_tiles
from tests.log.sessions import drop_logins, make_login
from tests.seals.tampering import altering

Append = Callable[..., list[UUID]]
EVENTS = 30 * 200


@pytest.fixture
def sealed(session: Connection, outside: Outside, append: Append) -> None:
    append(30, 200)
    seal(session, outside)


def rounds(session: Connection, outside: Outside, budget: int, most: int = 100) -> list[Share]:
    """Runs until a round is done."""
    runs: list[Share] = []
    while not runs or runs[-1].round.begun_at is not None:
        runs.append(verify_share(session, outside, budget=budget, workers=2))
        assert len(runs) < most
    return runs


@wants_whole_tiles
@pytest.mark.parametrize("budget", [1, 2 * TILE, 1500, 10**9])
@pytest.mark.usefixtures("sealed")
def test_each_event_is_verified_once_a_round_whatever_the_budget(
    session: Connection, outside: Outside, budget: int
) -> None:
    runs = rounds(session, outside, budget)
    assert sum(run.verified.verified for run in runs) == EVENTS
    assert {run.verified.verdict for run in runs} == {INTACT}
    assert all(run.verified.verified <= max(budget, TILE) + TILE for run in runs)
    assert runs[-1].round.all_done_at is not None
    if budget == 10**9:
        assert len(runs) == 1
    again = rounds(session, outside, budget)
    assert sum(run.verified.verified for run in again) == EVENTS


@pytest.mark.usefixtures("sealed")
def test_the_row_says_what_was_verified_and_when_all_will_have_been(
    session: Connection, outside: Outside
) -> None:
    first, second, *_ = rounds(session, outside, 1500)
    for number, run in enumerate((first, second), 1):
        row = run.round
        assert row.verified_at is not None
        assert row.all_done_by is not None
        assert row.all_done_at is None
        assert row.events == sum(one.verified.verified for one in (first, second)[:number])
        days = -(-(EVENTS - row.events) // run.verified.verified)
        assert row.all_done_by == row.verified_at + timedelta(days=days)


@pytest.mark.usefixtures("sealed")
def test_the_budget_is_a_setting(session: Connection, outside: Outside) -> None:
    change_setting(session, "verify_events", "1000")
    assert 1 <= verify_share(session, outside).verified.verified < EVENTS
    change_setting(session, "verify_events", "1000000")
    assert verify_share(session, outside).round.all_done_at is not None


@pytest.mark.usefixtures("sealed")
def test_an_alteration_is_found_within_a_round_and_stays_found_until_it_is_put_right(
    session: Connection, outside: Outside
) -> None:
    (victim,) = session.execute(
        f"SELECT id FROM {part('order_events', 3)} ORDER BY id LIMIT 1"
    ).fetchone() or (None,)
    if victim is None:
        (victim,) = session.execute("SELECT id FROM order_events ORDER BY id LIMIT 1").fetchone() or ()
    with altering(session):
        session.execute("UPDATE order_events SET event_type = event_type || 'x' WHERE id = %s", (victim,))
    verdicts = [run.verified.verdict for run in rounds(session, outside, 1000)]
    found_at = verdicts.index(ALTERED)
    assert set(verdicts[:found_at]) <= {INTACT}
    assert set(verdicts[found_at:]) == {ALTERED}
    for _ in range(3):
        found = verify_share(session, outside, budget=1000)
        assert [problem.id for problem in found.verified.problems] == [victim]
        assert [problem["id"] for problem in found.round.problems] == [str(victim)]
        assert seal_status(session).verification.failing == 1
    with altering(session):
        session.execute(
            "UPDATE order_events SET event_type = rtrim(event_type, 'x') WHERE id = %s", (victim,)
        )
    assert verify_share(session, outside, budget=1000).verified.verdict == INTACT
    assert read_round(session).failing == 0


@wants_whole_tiles
@pytest.mark.usefixtures("sealed")
def test_roots_that_were_changed_elsewhere_do_not_hide_behind_a_share(
    session: Connection, outside: Outside
) -> None:
    with altering(session):
        session.execute(
            "UPDATE seal_tiles SET root = set_byte(root, 1, get_byte(root, 1) # 1) WHERE tile = 1"
        )
    found = [run.verified.problems for run in rounds(session, outside, 600)]
    assert {problem.kind for problems in found for problem in problems} == {"tile"}


@pytest.mark.parametrize("number", [1, 100, 101, 102, 203, 220])
def test_what_was_signed_is_looked_at_in_turn_too(
    session: Connection, outside: Outside, append: Append, number: int
) -> None:
    append(110, 2)
    seal(session, outside, step=1)
    assert {verify_share(session, outside, budget=1000).verified.verdict for _ in range(4)} == {INTACT}
    with altering(session):
        session.execute(
            "UPDATE seal_checkpoints SET note = replace(note, 'epoch 1', 'epoch 2') WHERE number = %s",
            (number,),
        )
    found = [verify_share(session, outside, budget=1000).verified for _ in range(3)]
    assert ALTERED in {one.verdict for one in found}
    assert number in {problem.checkpoint for one in found for problem in one.problems}


def test_a_log_that_grows_during_a_round_comes_to_its_end(
    session: Connection, outside: Outside, append: Append
) -> None:
    for _ in range(4):
        append(8, 100)
        seal(session, outside)
        assert verify_share(session, outside, budget=512).verified.verdict == INTACT
    runs = rounds(session, outside, 512)
    assert runs[-1].round.all_done_at is not None
    assert {run.verified.verdict for run in runs} == {INTACT}


def test_before_anything_is_sealed_there_is_nothing_to_verify(session: Connection, outside: Outside) -> None:
    found = verify_share(session, outside)
    assert found.verified.verdict == UNKNOWN
    assert found.round.events == 0


@pytest.mark.usefixtures("sealed")
def test_whoever_keeps_the_read_models_may_note_what_was_verified(
    connection: psycopg.Connection[Any], outside: Outside, database_url: str
) -> None:
    try:
        login = make_login(connection, "nightly", "eventstore_projector")
        url = psycopg.conninfo.make_conninfo(database_url, user=login, password="hush")
        with open_connection(url) as own:
            assert verify_share(own, outside, budget=1000).round.verified_at is not None
    finally:
        drop_logins(connection)


def test_the_status_says_how_much_waits_to_be_sealed_and_for_how_long(
    session: Connection, outside: Outside, append: Append
) -> None:
    assert seal_status(session).checkpoint == 0
    append(3)
    seal(session, outside)
    sealed = seal_status(session)
    assert (sealed.sealed, sealed.unsealed, sealed.unsealed_seconds) == (3, 0, 0)
    append(2)
    waiting = seal_status(session)
    assert (waiting.sealed, waiting.unsealed, waiting.checkpoint) == (3, 2, 1)
    assert 0 < waiting.unsealed_seconds < 60
