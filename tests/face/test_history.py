"""eventstore history: the forensic view of one order, in a pipe, in terminals wide and narrow, as JSON."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from eventstore import (
    Fact,
    OrderAmountCorrected,
    OrderCreated,
    OrderPaid,
    OrderRefunded,
    OrderShipped,
    Store,
)
from eventstore.face.cli import timeline
from eventstore.log.append import append_json

Cli = Callable[..., Any]
CUSTOMER = UUID(int=7)


@pytest.fixture
def order(store: Store) -> UUID:
    """An order with a late payment, a late correction, an unknown event and an odd refund."""
    order = uuid4()

    def append(
        event: Any, *time: int, source: tuple[str, str] | None = None, actor: str | None = None
    ) -> None:
        producer, identity = source or (None, None)
        metadata = {"actor": actor} if actor else {}
        store.append(order, Fact(event, datetime(2026, 3, *time), producer, identity, metadata))  # type: ignore[arg-type]

    created = OrderCreated(customer_id=CUSTOMER, amount=Decimal("136.23"), currency="BRL")
    append(created, 3, 12, source=("/shop/web", "4711/0"), actor="alice")
    append(OrderShipped(), 5, 9, 30, source=("/warehouse", "s-1"))
    append(OrderPaid(amount=Decimal("100.00"), currency="BRL"), 3, 12, 30, 0, 250_000, actor="robot")
    append(OrderAmountCorrected(amount=Decimal("100.00"), currency="BRL"), 5, 6)
    with store.connection() as connection:
        weird = {"type": "Weird\x1b[31m\nType", "data": {}, "created_at": "2026-03-06"}
        append_json(connection, order, [weird])
    append(OrderRefunded(amount=Decimal("200.00"), currency="BRL"), 9)
    return order


EXPECTED = [
    (
        "1",
        "2026-03-03T12:00:00.000Z",
        "OrderCreated",
        "-",
        "alice via /shop/web 4711/0",
        f"status Unknown -> Created; customer_id none -> {CUSTOMER}; "
        "amount none -> 136.23; currency none -> BRL",
    ),
    (
        "2",
        "2026-03-05T09:30:00.000Z",
        "OrderShipped",
        "shipped_before_paid",
        "/warehouse s-1",
        "status Created -> Shipped",
    ),
    (
        "3",
        "2026-03-03T12:30:00.250Z",
        "OrderPaid",
        "late by 2 d, no longer shipped_before_paid",
        "robot",
        "paid_amount 0.00 -> 100.00",
    ),
    ("4", "2026-03-05T06:00:00.000Z", "OrderAmountCorrected", "late by 4 h", "-", "amount 136.23 -> 100.00"),
    ("5", "2026-03-06T00:00:00.000Z", r"Weird\x1b[31m\nType", "unknown type", "-", "-"),
    (
        "6",
        "2026-03-09T00:00:00.000Z",
        "OrderRefunded",
        "refunded_more_than_paid",
        "-",
        "refunded_amount 0.00 -> 200.00",
    ),
]


def test_in_a_pipe_an_event_is_one_line_of_aligned_columns(
    database_url: str, store: Store, order: UUID
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from eventstore.face.cli import main; main()", "history", str(order)],
        env={"DATABASE_URL": database_url, "COLUMNS": "40", "FORCE_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    header, *lines = ran.stdout.splitlines()
    assert header.split() == ["VERSION", "HAPPENED", "RECORDED", "TYPE", "MARKS", "BY", "CHANGES"]
    assert "\x1b" not in ran.stdout
    starts = [header.index(name) for name in header.split()]
    rows = [
        [line[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        for line in lines
    ]
    assert [tuple(row[:2] + row[3:]) for row in rows] == EXPECTED
    recorded = [event.recorded_at for event in store.stream(order)]
    assert [datetime.fromisoformat(row[2]) for row in rows] == recorded


def shown(monkeypatch: pytest.MonkeyPatch, cli: Cli, width: int, *arguments: object) -> list[str]:
    """What a terminal of that width shows, without its colours."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=width, highlight=False)
    monkeypatch.setattr(timeline, "console", terminal)
    assert cli("history", *arguments).code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()


@pytest.mark.parametrize("width", [60, 80, 140, 200])
def test_a_terminal_shows_everything_within_its_width(
    cli: Cli, order: UUID, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    lines = shown(monkeypatch, cli, width, order)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    for _, happened, kind, marks, _, _ in EXPECTED:
        assert happened.replace("T", " ").removesuffix("Z") in text
        assert kind in text
        for mark in marks.replace("-", "").split(", "):
            assert mark in text
    assert "status Created → Shipped" in text


def test_a_terminal_has_colours(cli: Cli, order: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(timeline, "console", Console(file=screen, force_terminal=True, width=80))
    cli("history", order)
    assert re.search(r"\x1b\[[0-9;]*33m  late by 2 d", screen.getvalue())  # yellow


def test_a_wide_terminal_shows_the_events_that_changed_one_thing_on_one_line(
    cli: Cli, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(monkeypatch, cli, 200, order)
    header = lines[0].split()
    assert header == ["#", "happened", "(UTC)", "recorded", "(UTC)", "event", "changed", "by"]
    (shipped,) = [line for line in lines if "OrderShipped" in line]
    assert "2026-03-05 09:30:00.000" in shipped
    assert "status Created → Shipped" in shipped
    assert shipped.rstrip().endswith("/warehouse s-1")
    assert lines[1].rstrip().endswith("alice via /shop/web 4711/0")
    assert "   by alice via /shop/web 4711/0" in shown(monkeypatch, cli, 60, order)


def test_as_json_it_says_who_what_and_when(cli: Cli, store: Store, order: UUID) -> None:
    found = cli("history", order, "--json").json
    assert found["order_id"] == str(order)
    events = {event["version"]: event for event in found["events"]}
    assert list(events) == [1, 2, 3, 4, 5, 6]
    (paid,) = [event for event in store.stream(order) if event.version == 3]
    recorded_at = paid.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert events[3] == {
        "version": 3,
        "id": str(paid.id),
        "type": "OrderPaid",
        "happened_at": "2026-03-03T12:30:00.250Z",
        "recorded_at": recorded_at.replace(".000Z", "Z"),
        "changes": {
            "paid_amount": {"from": "0.00", "to": "100.00"},
            "paid_at": {"from": None, "to": "2026-03-03T12:30:00.250000Z"},
        },
        "late": True,
        "late_by_seconds": 45 * 3600 - 0.25,  # the parcel was handed over on the 5th at 9:30
        "anomalies": [],
        "resolved": ["shipped_before_paid"],
        "error": None,
        "source": None,
        "source_id": None,
        "actor": "robot",
        "metadata": {"actor": "robot"},
        "data": {"amount": "100.00", "currency": "BRL"},
    }
    assert (events[2]["anomalies"], events[2]["source"], events[2]["late"]) == (
        ["shipped_before_paid"],
        "/warehouse",
        False,
    )


def test_diff_tells_what_changed_between_two_moments(cli: Cli, order: UUID) -> None:
    found = cli("history", order, "--diff", "2026-03-03T12:15", "2026-03-05T09:30Z", "--json").json
    assert found == {
        "order_id": str(order),
        "from": "2026-03-03T12:15:00Z",
        "to": "2026-03-05T09:30:00Z",
        "changes": {
            "amount": {"from": "136.23", "to": "100.00"},
            "status": {"from": "Created", "to": "Shipped"},
            "paid_amount": {"from": "0.00", "to": "100.00"},
            "paid_at": {"from": None, "to": "2026-03-03T12:30:00.250000Z"},
            "shipped_at": {"from": None, "to": "2026-03-05T09:30:00Z"},
        },
        "events": [
            {"version": 3, "type": "OrderPaid", "happened_at": "2026-03-03T12:30:00.250Z"},
            {"version": 4, "type": "OrderAmountCorrected", "happened_at": "2026-03-05T06:00:00Z"},
            {"version": 2, "type": "OrderShipped", "happened_at": "2026-03-05T09:30:00Z"},
        ],
    }


def test_diff_in_a_pipe_and_in_a_terminal(cli: Cli, order: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = ("--diff", "2026-03-04", "2026-03-05T07:00")
    assert cli("history", order, *moments).out.splitlines() == [
        "FIELD   AT 2026-03-04 00:00:00 UTC (the start of the day in UTC)"
        "  AT 2026-03-05 07:00:00 UTC (UTC, as no zone was given)",
        "amount  136.23                                                    100.00",
    ]
    piped = cli("history", order, "--diff", "2026-03-07T00:00Z", "2026-03-08T00:00Z").err.strip()
    lines = shown(monkeypatch, cli, 60, order, *moments)
    assert any(line.split() == ["amount", "136.23", "100.00"] for line in lines)
    assert lines[-1] == "#4 OrderAmountCorrected 2026-03-05 06:00:00.000 UTC"
    (nothing,) = shown(monkeypatch, cli, 100, order, "--diff", "2026-03-07T00:00Z", "2026-03-08T00:00Z")
    assert nothing == piped == "nothing changed between 2026-03-07 00:00:00 UTC and 2026-03-08 00:00:00 UTC"


def test_diff_before_the_first_event_starts_from_nothing(cli: Cli, order: UUID) -> None:
    found = cli("history", order, "--diff", "2020-01-01", "2026-03-03T12:00", "--json").json
    assert found["changes"]["status"] == {"from": "Unknown", "to": "Created"}
    assert found["changes"]["amount"] == {"from": None, "to": "136.23"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--diff", "someday", "2026-03-03"), '"someday" is not a time'),
        (("--diff", "2026-03-03", "2026-13-03"), '"2026-13-03" is not a time'),
        (
            ("--diff", "2026-03-04", "2026-03-03"),
            "2026-03-04 00:00:00 UTC, is later than the second, 2026-03-03 00",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    cli: Cli, order: UUID, arguments: tuple[object, ...], says: str
) -> None:
    ran = cli("history", order, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_an_unknown_order_is_exit_2(cli: Cli) -> None:
    order = uuid4()
    for arguments in ((), ("--diff", "2026-03-03", "2026-03-04"), ("--json",)):
        ran = cli("history", order, *arguments)
        assert (ran.code, ran.out, ran.err) == (2, "", f"error: order {order} has no events\n")


def test_an_event_that_makes_no_sense_is_marked_and_what_comes_after_it_changes_nothing(
    cli: Cli, store: Store
) -> None:
    order = uuid4()
    with store.connection() as connection:
        nonsense = {"type": "OrderPaid", "data": {"currency": "EUR"}}
        append_json(connection, order, [nonsense, {"type": "OrderShipped", "data": {}}])
    first, second = cli("history", order, "--json").json["events"]
    assert "amount" in first["error"]
    assert first["changes"] == {}
    assert second["changes"] == {}
    assert second["error"].startswith("not folded, as version 1, OrderPaid: ValidationError")
    assert "the rules fail: " in cli("history", order).out
