"""The sample files of the demo: always the same for a seed, and with all that goes wrong in real life."""

import gzip
import json
from collections import Counter
from datetime import UTC, date, datetime
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any

import psycopg

from eventstore.ingestion.files import expand
from eventstore.kernel.recorded import FoldEvent
from eventstore.orders.order import fold
from eventstore.orders.sample import write_sample
from tests.shipped import EVENTS, FORMATS, ingest

Connection = psycopg.Connection[Any]
DAY = date(2026, 3, 3)


def test_the_same_seed_gives_the_same_files_and_another_one_others(tmp_path: Path) -> None:
    first, second, other, later = (
        [path.read_bytes() for path in write_sample(tmp_path / name, 100, seed, day)]
        for name, seed, day in (("a", 1, DAY), ("b", 1, DAY), ("c", 2, DAY), ("d", 1, date(2026, 3, 4)))
    )
    assert first == second
    assert first[0] != other[0]
    assert first[0] != later[0]


def test_the_files_are_handed_over_whole_and_can_all_be_ingested(tmp_path: Path) -> None:
    paths = write_sample(tmp_path / "landing", 100, until=DAY)
    assert len(paths) == 3
    found = [file.path for file in expand([tmp_path / "landing"], FORMATS).files]
    assert sorted((tmp_path / "landing").iterdir()) == sorted(paths) == found
    assert gzip.decompress(paths[0].read_bytes()).startswith(b'{"specversion"')


def test_a_demo_of_3000_orders_has_all_that_goes_wrong_and_a_second_run_appends_nothing(
    connection: Connection, tmp_path: Path
) -> None:
    paths = write_sample(tmp_path)
    done = ingest(connection, paths)
    assert len(done.rejects_by_reason) >= 6
    assert 10 <= done.rejected <= 20
    assert done.duplicates >= 50
    assert done.appended > 9000
    again = ingest(connection, paths)
    assert (again.appended, again.duplicates) == (0, done.appended + done.duplicates)
    assert again.rejects_by_reason == done.rejects_by_reason

    rows = connection.execute(
        "SELECT event_type, id, order_id, version, created_at, NULL, event_data::text FROM order_events"
    ).fetchall()
    events: dict[Any, list[FoldEvent]] = {}
    for row in rows:
        events.setdefault(row[2], []).append(EVENTS.fold_event(*row))
    assert len(events) == 3000
    states = [fold(order, found) for order, found in events.items()]
    assert {state.status for state in states} == {"Created", "Paid", "Shipped", "Delivered", "Cancelled"}
    assert {state.currency for state in states} == {"EUR", "USD", "GBP"}
    anomalies = Counter(name for state in states for name in state.anomalies)
    assert anomalies["shipped_before_paid"] >= 20
    assert anomalies["cancelled_after_shipped"] >= 5
    late = sum(
        earlier.created_at > later.created_at
        for found in events.values()
        for earlier, later in pairwise(sorted(found, key=attrgetter("id")))
    )
    assert late >= 50
    types = Counter(event.event_type for found in events.values() for event in found)
    assert types["OrderRefunded"] >= 50
    assert types["OrderAmountCorrected"] >= 20


def test_nothing_happens_after_the_day_begins(tmp_path: Path) -> None:
    for path in write_sample(tmp_path, 200, until=DAY):
        content = path.read_bytes()
        for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines():
            try:
                time = json.loads(line)["time"]
            except ValueError:
                continue
            assert (
                datetime(2026, 2, 3, tzinfo=UTC)
                <= datetime.fromisoformat(time)
                < datetime(2026, 3, 3, tzinfo=UTC)
            )
