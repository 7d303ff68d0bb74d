"""Run every command, as a user would, and look whether the good orders are right in every answer."""

import json
import os
import re
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from typing import Any, NamedTuple
from unittest.mock import patch
from uuid import UUID

import psycopg

import eventstore
from eventstore.face.cli import main
from tests.robustness.naive import CURRENCY, Given, Outcome, lifetime_values, naive, revenue_by_day
from tests.shipped import build_snapshots, stale_days

PROJECTIONS = ("orders", "order_history")
#: Control characters but the tab, line ends, and marks that turn the direction of text.
OBEYED = re.compile("[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
_ORDER_COLUMNS = "status, amount, paid_amount, refunded_amount, version"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def run(url: str, *arguments: object) -> Ran:
    """`eventstore …` in this process. What it does not expect comes out as it is."""
    out, err, code = StringIO(), StringIO(), 0
    environment = patch.dict(os.environ, {"DATABASE_URL": url})
    with environment, patch.object(sys, "argv", ["eventstore", *map(str, arguments)]):
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    ran = Ran(code, out.getvalue(), err.getvalue())
    _is_readable(arguments, ran)
    return ran


def _is_readable(arguments: Iterable[object], ran: Ran) -> None:
    """A failure is one line, and nothing that is printed is obeyed by a terminal."""
    if ran.code != 0:
        assert ran.err.startswith("error: "), (arguments, ran)
        assert len(ran.err.splitlines()) == 1, (arguments, ran)
    for line in (ran.out + ran.err).split("\n"):
        assert not OBEYED.search(line), (arguments, line)


def done(url: str, *arguments: object) -> str:
    ran = run(url, *arguments)
    assert ran.code == 0, (arguments, ran)
    return ran.out


def run_everything(
    url: str, good: dict[UUID, list[Given]], others: Iterable[UUID] = (), *, waiting: int = 0
) -> None:
    """Every command on the database at ``url``. ``others`` are the orders that hold something bad;
    ``waiting``: how many events lie above the horizon.
    """
    others = list(others)
    _follow(url, waiting)
    _is_right(url, good, refreshed=False)
    for again in (False, True):
        done(url, "refresh", "--json")
        _is_right(url, good, refreshed=True)
        with psycopg.connect(url, autocommit=True) as connection:
            for day in stale_days(connection) if again else _days(good):
                build_snapshots(connection, day, day)
    for projection in PROJECTIONS:
        done(url, "replay", projection, "--json")
    done(url, "replay", "--preview", "--json")
    done(url, "replay", "--preview")
    done(url, "promote", "--json")
    done(url, "refresh")
    _is_right(url, good, refreshed=True)
    _look_at_orders(url, [*list(good)[:2], *others[:: len(others) // 12 + 1]])
    done(url, "status")
    done(url, "status", "--json")
    done(url, "rejects")
    done(url, "rejects", "--json")
    done(url, "rejects", "retry", "--json")
    _is_right(url, good, refreshed=True)


def _days(good: dict[UUID, list[Given]]) -> set[Any]:
    last = [max(events, key=lambda event: event.at).at for events in good.values()]
    return {datetime.fromtimestamp(at / 1000, UTC).date() for at in last[:3]}


def _follow(url: str, waiting: int) -> None:
    """The feed has everything, in one order, for whoever follows it."""
    with psycopg.connect(url, autocommit=True) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM order_events").fetchone() or (0,)
    lines = done(url, "tail").splitlines()
    assert len(lines) == stored - waiting
    if lines:
        half = len(lines) // 2 or 1
        first = done(url, "tail", "--consumer", "robust", "--limit", half).splitlines()
        assert first + done(url, "tail", "--consumer", "robust").splitlines() == lines
        assert all(isinstance(json.loads(line, parse_int=str), dict) for line in lines[:100])


def _look_at_orders(url: str, orders: Iterable[UUID]) -> None:
    for order in orders:
        for options in ([], ["--json"], ["--version", 1], ["--at", "2020-01-01"], ["--known", "1 day ago"]):
            run(url, "show", order, *options)
        for options in ([], ["--json"], ["--diff", "1999-01-01", "2999-01-01"]):
            run(url, "history", order, *options)


def _is_right(url: str, good: dict[UUID, list[Given]], *, refreshed: bool) -> None:
    expected = {order: naive(events) for order, events in good.items()}
    with eventstore.connect(url) as store, store.connection() as connection:
        for order, outcome in expected.items():
            for state in (store.current(order), store.state(order)):
                assert state is not None
                found = Outcome(
                    state.status, state.amount, state.paid_amount, state.refunded_amount, state.version
                )
                assert found == outcome, order
        if not refreshed:
            return
        for table in ("orders", "orders_as_of(now(), 'infinity')"):
            rows = connection.execute(
                f"SELECT order_id, {_ORDER_COLUMNS} FROM {table} WHERE order_id = ANY(%s)", (list(expected),)
            )
            assert {order: Outcome(*row) for order, *row in rows} == expected, table
        rows = connection.execute(
            "SELECT customer_id, orders, lifetime_value FROM customers WHERE currency = %s", (CURRENCY,)
        )
        assert {customer: (number, value) for customer, number, value in rows} == lifetime_values(good)
        rows = connection.execute(
            "SELECT day - date '1970-01-01', revenue FROM daily_order_metrics WHERE currency = %s "
            "AND revenue <> 0",
            (CURRENCY,),
        )
        assert dict(rows.fetchall()) == {d: v for d, v in revenue_by_day(good).items() if v}
        connection.execute("SELECT count(*) FROM customers_as_of('2026-01-01')")
