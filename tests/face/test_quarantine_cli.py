"""eventstore quarantine: orders that the rules fail on do not hide."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg

from eventstore.log.append import append_json
from eventstore.orders.domain import DOMAIN

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]


def poison(connection: Connection) -> str:
    """An order whose second event the log takes and the rules do not."""
    order = uuid4()
    told = [{"type": "OrderShipped", "data": {}}, {"type": "OrderPaid", "data": {}}]
    append_json(connection, order, told)
    return str(order)


def test_an_order_that_the_rules_fail_on_is_said_by_refresh_and_listed(
    cli: Cli, connection: Connection
) -> None:
    order = poison(connection)
    refreshed = cli("refresh")
    assert refreshed.code == 0
    assert "warning: orders: set aside 1 order," in refreshed.err
    assert "`eventstore quarantine`" in refreshed.err
    assert cli("refresh").err == ""  # it is no news any more
    found = cli("quarantine", "--json").json
    assert found["orders"] == 1
    [one] = found["first"]
    assert (one["order_id"], one["version"], one["event_type"]) == (order, 2, "OrderPaid")
    assert {"orders", "order_history"} <= set(one["tables"])
    assert one["since"] == found["since"]
    head, line = cli("quarantine").out.splitlines()
    assert head.split("\t")[0] == "ORDER"
    assert line.split("\t")[:3] == [order, "2", "OrderPaid"]


def test_one_table_alone_is_listed_and_one_that_is_not_there_is_a_mistake(
    cli: Cli, connection: Connection
) -> None:
    assert cli("quarantine").out == "No order is in quarantine.\n"
    poison(connection)
    cli("refresh")
    [one] = cli("quarantine", "--table", "order_history", "--json").json["first"]
    assert one["tables"] == ["order_history"]
    wrong = cli("quarantine", "--table", "order")
    assert (wrong.code, wrong.out) == (2, "")
    tables = [*(each.name for each in DOMAIN.projections), "order_snapshots"]
    assert f"there are {', '.join(tables)}\n" in wrong.err


def test_a_json_refresh_counts_what_it_set_aside(cli: Cli, connection: Connection) -> None:
    poison(connection)
    first = cli("refresh", "--json").json
    assert (first["set_aside"], first["projections"]["order_history"]["set_aside"]) == (1, 1)
    assert cli("refresh", "--json").json["set_aside"] == 0
