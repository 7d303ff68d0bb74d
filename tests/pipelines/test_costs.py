"""What runs by the clock costs what is new, however long the log is: counted in pages and rows, not time."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

import psycopg
import pytest

from eventstore.log import counting
from eventstore.log.connection import open_connection
from pipelines import jobs
from tests.benchmarks import generate
from tests.pipelines.work import Work, append_news, catch_up, leave_alone, scheduled, work_of
from tests.shipped import build_snapshots, refresh

SMALL, LARGE = 2_000, 40_000
#: Before each of them so many orders are new, with two events each, and so many others get another event.
NEWS = 20
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
BEFORE = YESTERDAY - timedelta(days=1)
#: Deeper indexes are allowed, and more pages of which fewer rows are wanted; twenty times as much is not.
LIMIT = 2
BUILDS_A_DAY = f"job {jobs.snapshot_day.name}"
FOLLOWS_ORDERS = {f"job {job.name}" for job in (jobs.refresh_metrics, *jobs.DERIVED.values())}


def make(url: str, events: int) -> None:
    """A log of about that many events, and everything that is made from it."""
    generate.fill(url, events)
    catch_up(url)
    with open_connection(url) as connection:
        first = date.today() - timedelta(days=40)
        build_snapshots(connection, first, first + timedelta(days=5))
        connection.execute("UPDATE settings SET proof_budget = 1000, verify_events = 1000")
    leave_alone(url)


def reads_everything(url: str) -> None:
    """As a check that somebody adds might."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT count(*) FROM orders WHERE amount < 0")
        connection.execute("SELECT count(*) FROM order_events WHERE event_type = ''")


@pytest.fixture(scope="module")
def costs(_factory: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Work]]:
    """By name what each costs on a small and on a large log, after the same news."""
    found: dict[str, list[Work]] = {}
    for events in (SMALL, LARGE):
        home = tmp_path_factory.mktemp("home")  # copies of seals belong to one database
        (home / "landing").mkdir()
        with (
            patch.dict("os.environ", {"EVENTSTORE_HOME": str(home)}),
            patch.object(counting, "COUNTED", 1_000),
        ):
            url = _factory.make()
            make(url, events)
            for name, run in scheduled(url, f"{YESTERDAY:%Y-%m-%d}").items():
                catch_up(url)
                append_news(url, YESTERDAY if name == BUILDS_A_DAY else BEFORE, NEWS)
                if name in FOLLOWS_ORDERS:
                    with open_connection(url) as connection:
                        refresh(connection)
                found.setdefault(name, []).append(work_of(url, run))
            found.setdefault("a check that reads everything", []).append(
                work_of(url, partial(reads_everything, url))
            )
    return found


def test_everything_that_is_scheduled_costs_what_is_new(costs: dict[str, list[Work]]) -> None:
    grown = {name: large.times(small) for name, (small, large) in costs.items()}
    assert {name: (grown[name], costs[name]) for name in grown if grown[name] > LIMIT} == {
        name: (grown[name], costs[name]) for name in grown if name == "a check that reads everything"
    }


def test_one_check_that_reads_everything_would_be_noticed_in_each_refresh(
    costs: dict[str, list[Work]],
) -> None:
    small, large = costs["a check that reads everything"]
    refreshes = {name: both for name, both in costs.items() if name.startswith("job refresh_")}
    assert refreshes
    for name, (before, after) in refreshes.items():
        with_check = [
            Work(a.buffers + b.buffers, a.rows + b.rows) for a, b in ((before, small), (after, large))
        ]
        assert with_check[1].times(with_check[0]) > LIMIT, name
