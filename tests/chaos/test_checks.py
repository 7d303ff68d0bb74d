"""The checks after a storm notice what they are there for."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.chaos.check_log import check_log, load_journals
from tests.chaos.check_models import ModelCheck, check_rebuild
from tests.chaos.findings import Findings
from tests.chaos.happenings import sent_line
from tests.chaos.journal import Journal
from tests.chaos.plan import Plan
from tests.chaos.shown import check_consumers
from tests.chaos.workers import refresh_everything

_ORDER = UUID(int=7)


class _Told:
    """A log of four events, and journals that tell of them what a test wants."""

    def __init__(self, connection: psycopg.Connection[Any], folder: Path) -> None:
        self.connection, self.folder, self.findings = connection, folder, Findings()
        self.sent, self.recorded, self.outcome, self.shown = (
            Journal(folder, kind, "somebody-0.0") for kind in ("sent", "recorded", "outcome", "shown")
        )
        self.rows = [self._append(number) for number in range(4)]

    def _append(self, number: int) -> tuple[Any, ...]:
        event = {"type": "OrderPaid", "data": {"tag": f"t{number}", "amount": "1.50", "currency": "EUR"}}
        self.sent.write(sent_line(f"t{number}", f"one {number}", _ORDER, event))
        [(event_id, version)] = self.connection.execute(
            "SELECT id, version FROM append_events(%s, %s)", (_ORDER, Jsonb([event]))
        ).fetchall()
        return f"t{number}", f"one {number}", _ORDER, version, event_id

    def found(self) -> set[str]:
        load_journals(self.connection, self.folder)
        check_log(self.connection, self.findings)
        check_consumers(self.connection, self.folder, self.findings)
        return set(self.findings.counts)


@pytest.fixture
def told(connection: psycopg.Connection[Any], tmp_path: Path) -> _Told:
    return _Told(connection, tmp_path)


def test_a_log_that_is_as_it_was_told_is_right(told: _Told) -> None:
    for row in told.rows:
        told.recorded.write(row)
        told.outcome.write((row[1], "acknowledged"))
        told.shown.write(("billing", row[4], _ORDER, row[3]))
    assert told.found() == set()


def test_a_lost_an_undone_and_an_invented_event_are_noticed(told: _Told) -> None:
    event = {"type": "OrderPaid", "data": {"tag": "lost"}}
    told.sent.write(sent_line("lost", "two 1", _ORDER, event), sent_line("t1", "two 2", _ORDER, event))
    told.recorded.write(("lost", "two 1", _ORDER, 9, uuid4()))
    told.outcome.write(("two 1", "acknowledged"), ("one 3", "undone"))
    told.connection.execute(
        "SELECT append_events(%s, %s)", (_ORDER, Jsonb([{"type": "OrderPaid", "data": {"tag": "invented"}}]))
    )
    assert told.found() >= {
        "acknowledged, and not in the log",
        "acknowledged, and not in the log with that version and id",
        "undone, and in the log",
        "an event that nobody sent",
        "an event that differs from what was sent",
    }


def test_half_a_transaction_is_noticed(told: _Told) -> None:
    told.sent.write(sent_line("other half", "one 0", _ORDER, {"type": "OrderPaid", "data": {}}))
    assert told.found() >= {"half a transaction"}


def test_a_consumer_that_missed_an_event_or_saw_one_that_is_gone_is_noticed(told: _Told) -> None:
    first, _, third, _ = (row[4] for row in told.rows)
    beyond = UUID(int=third.int + 1)
    for event_id in (first, third, beyond):
        told.shown.write(("billing", event_id, _ORDER, 1))
    assert told.found() == {
        "passed over by a consumer",
        "shown to a consumer, not in the log",
        "never shown to a consumer",
    }


def test_read_models_that_follow_from_the_log_are_right(told: _Told, database_url: str) -> None:
    refresh_everything(told.connection)
    check = ModelCheck(told.connection, database_url, Plan(seed=1), told.findings)
    check.run()
    check_rebuild(told.connection, check, told.findings)
    assert not told.findings


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("orders", "UPDATE orders SET paid_amount = paid_amount + 0.01"),
        ("orders", "DELETE FROM orders"),
        ("order_as_of", "UPDATE order_history SET status = 'Wrong'"),
        ("customers", "INSERT INTO customers VALUES (gen_random_uuid(), 'EUR', 1, 1, now(), now())"),
        ("daily_order_metrics", "UPDATE daily_order_metrics SET revenue = 0"),
    ],
)
def test_a_read_model_that_is_wrong_is_noticed(
    told: _Told, database_url: str, table: str, change: str
) -> None:
    refresh_everything(told.connection)
    told.connection.execute(change)
    ModelCheck(told.connection, database_url, Plan(seed=1), told.findings).run()
    assert any(kind.startswith(table) for kind in told.findings.counts)
