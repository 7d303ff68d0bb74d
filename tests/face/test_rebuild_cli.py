"""`eventstore rebuild`, and what says that it is needed: status, show, refresh and check."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.orders.domain import DOMAIN
from tests.seals.tampering import LOG, altering

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]


@pytest.fixture
def restored(cli: Cli, connection: Connection) -> UUID:
    """An order of which the log lost the last event, and the read models hold it."""
    order = uuid4()
    cli("append", order, "OrderShipped", "{}")
    cli("append", order, "OrderDelivered", "{}")
    cli("refresh")
    with altering(connection, *LOG):
        connection.execute("DELETE FROM order_events WHERE version = 2")
    return order


def verdicts(cli: Cli) -> dict[tuple[str, str], dict[str, Any]]:
    found = cli("status", "--json").json["verdicts"]
    return {(each["code"], each["subject"]): each for each in found if each["level"] != "ok"}


def test_what_is_ahead_of_the_log_is_marked_everywhere_until_it_is_rebuilt(cli: Cli, restored: UUID) -> None:
    verdict = verdicts(cli)["ahead-of-log", "orders"]
    assert (verdict["level"], verdict["next"]) == ("fail", "eventstore rebuild")
    shown = cli("show", restored)
    assert shown.code == 0
    assert "Shipped" in shown.out
    [ahead] = re.findall("^warning: (.+) hold events that the log lacks", shown.err)
    assert {"orders", "order_history"} <= set(ahead.split(", "))
    assert "orders" in cli("show", restored, "--json").json["ahead_of_log"]
    assert "holds events that the log lacks" in cli("orders").err
    refused = cli("refresh")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "run `eventstore rebuild`" in refused.err
    assert cli("check", "--all").code == 1
    rebuilt = cli("rebuild")
    assert (rebuilt.code, rebuilt.err) == (0, "")
    assert "eventstore check" in rebuilt.out
    assert cli("check", "--all").code == 0
    assert not [code for code, _ in verdicts(cli) if code in {"ahead-of-log", "rebuild-unfinished"}]
    assert "ahead_of_log" not in cli("show", restored, "--json").json
    assert cli("orders").err == ""


def test_a_rebuild_that_was_left_is_told_of_and_gone_on_with(cli: Cli, connection: Connection) -> None:
    cli("append", uuid4(), "OrderShipped", "{}")
    cli("refresh")
    connection.execute("ALTER TABLE customers RENAME TO customers_elsewhere")
    failed = cli("rebuild")
    assert failed.code == 1
    connection.execute("ALTER TABLE customers_elsewhere RENAME TO customers")
    verdict = verdicts(cli)["rebuild-unfinished", "rebuild"]
    left = ", ".join(each.name for each in DOMAIN.derived)
    assert left.startswith("customers, ")
    assert verdict["sentence"].endswith(f"left: {left}")
    went_on = cli("rebuild")
    assert went_on.code == 0
    assert f"goes on; left: {left}" in went_on.err
    again = cli("rebuild", "--json").json
    assert (again["went_on"], next(iter(again["tables"]))) == (False, "orders")
