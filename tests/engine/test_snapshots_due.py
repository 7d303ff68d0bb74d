"""Which business days are to be built now."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from eventstore.engine.snapshots.due import Days, days_due
from eventstore.log.append import append_json
from tests.shipped import build_snapshots

NOW = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)


def happens(connection: psycopg.Connection[Any], at: datetime) -> None:
    event = {"type": "OrderShipped", "data": {}, "created_at": int(at.timestamp() * 1000)}
    append_json(connection, uuid4(), [event])


def test_an_empty_log_has_no_day_to_build(connection: psycopg.Connection[Any]) -> None:
    assert days_due(connection, NOW) is None


@pytest.mark.parametrize(
    ("newest", "last"),
    [
        (datetime(2026, 3, 9, 12, tzinfo=UTC), date(2026, 3, 9)),
        (datetime(2026, 3, 10, 0, 30, tzinfo=UTC), date(2026, 3, 9)),  # today is not over
        (datetime(2030, 1, 1, tzinfo=UTC), date(2026, 3, 9)),  # nor is what lies in the future
        (datetime(2018, 10, 17, 23, 59, tzinfo=UTC), date(2018, 10, 17)),  # files of long ago
    ],
)
def test_of_a_new_store_the_week_up_to_its_newest_event_is_due(
    connection: psycopg.Connection[Any], newest: datetime, last: date
) -> None:
    happens(connection, newest)
    due = days_due(connection, NOW)
    assert due is not None
    assert (due.last, (due.last - due.first).days) == (last, 6)


def test_a_day_is_due_an_hour_after_its_end_and_once(connection: psycopg.Connection[Any]) -> None:
    happens(connection, datetime(2026, 3, 9, 12, tzinfo=UTC))
    build_snapshots(connection, date(2026, 3, 8), date(2026, 3, 8))
    assert days_due(connection, datetime(2026, 3, 10, 0, 59, tzinfo=UTC)) is None
    assert days_due(connection, NOW) == Days(date(2026, 3, 9), date(2026, 3, 9))
    build_snapshots(connection, date(2026, 3, 9), date(2026, 3, 9))
    assert days_due(connection, NOW) is None


def test_nights_that_were_missed_are_due_up_to_a_month(connection: psycopg.Connection[Any]) -> None:
    happens(connection, datetime(2026, 3, 1, 12, tzinfo=UTC))
    build_snapshots(connection, date(2026, 3, 5), date(2026, 3, 5))
    assert days_due(connection, NOW) == Days(date(2026, 3, 6), date(2026, 3, 9))
    much_later = datetime(2027, 1, 1, 12, tzinfo=UTC)
    due = days_due(connection, much_later)
    assert due is not None
    assert (due.last, (due.last - due.first).days) == (date(2026, 12, 31), 30)
