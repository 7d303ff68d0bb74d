"""eventstore show: an order now and at any moment of its past."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from eventstore import Fact, OrderCreated, OrderPaid, OrderShipped, Store, UnknownVersionError
from eventstore.face.times import as_text

Cli = Callable[..., Any]


@pytest.fixture
def order(store: Store) -> UUID:
    """Created on 3 March, shipped on the 5th; that it was paid on the 4th became known last."""
    order = uuid4()
    for event, day in (
        (OrderCreated(customer_id=UUID(int=7), amount=Decimal("12.50"), currency="EUR"), 3),
        (OrderShipped(), 5),
        (OrderPaid(amount=Decimal("12.50"), currency="EUR"), 4),
    ):
        store.append(order, Fact(event, at=datetime(2026, 3, day, 12)))
        with store.connection() as connection:
            connection.execute("SELECT pg_sleep(0.002)")  # so that each is recorded in another millisecond
    return order


def said(cli: Cli, *arguments: object) -> tuple[str, int, list[str]]:
    state = cli("show", *arguments, "--json").json
    return state["status"], state["version"], state["anomalies"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ("Shipped", 3, [])),
        (("--at", "2026-03-03T12:00:00Z"), ("Created", 1, [])),
        (("--at", "2026-03-04"), ("Created", 1, [])),
        (("--at", "2026-03-04T14:00+02:00"), ("Paid", 3, [])),
        (("--at", "2026-03-05T11:59:59.999"), ("Paid", 3, [])),
        (("--at", "1 minute ago"), ("Shipped", 3, [])),
        (("--version", 1), ("Created", 1, [])),
        (("--version", 2), ("Shipped", 2, ["shipped_before_paid"])),
        (("--version", 2, "--at", "2026-03-04T12:00"), ("Created", 1, [])),
        (("--known", "in 1 hour"), ("Shipped", 3, [])),
    ],
)
def test_what_was_true_at_a_time_up_to_a_version(
    cli: Cli, order: UUID, arguments: tuple[object, ...], expected: tuple[str, int, list[str]]
) -> None:
    assert said(cli, order, *arguments) == expected


def test_what_was_known_then(cli: Cli, store: Store, order: UUID) -> None:
    recorded = [as_text(event.recorded_at) for event in store.stream(order)]
    assert said(cli, order, "--known", recorded[0]) == ("Created", 1, [])
    assert said(cli, order, "--known", recorded[1]) == ("Shipped", 2, ["shipped_before_paid"])
    assert said(cli, order, "--known", recorded[1], "--at", "2026-03-04T12:00") == ("Created", 1, [])
    assert said(cli, order, "--known", recorded[2], "--at", "2026-03-04T12:00") == ("Paid", 3, [])


def test_the_output_says_how_the_times_were_read(cli: Cli, order: UUID) -> None:
    shown = cli("show", order, "--at", "2026-03-04").out.splitlines()
    assert shown[0].split("  ")[0] == "at"
    assert shown[0].endswith("  2026-03-04 00:00:00 UTC (the start of the day in UTC)")
    shown = cli(
        "show", order, "--at", "2026-03-04T14:00+02:00", "--known", "2100-01-01T00:00"
    ).out.splitlines()
    assert shown[0].endswith("  2026-03-04 12:00:00 UTC")
    assert shown[1].endswith("  2100-01-01 00:00:00 UTC (UTC, as no zone was given)")
    found = cli("show", order, "--at", "2026-03-04", "--json").json
    assert (found["at"], found["amount"]) == ("2026-03-04T00:00:00Z", "12.50")


def test_in_a_pipe_a_field_is_one_line_however_long(cli: Cli, store: Store) -> None:
    order = uuid4()
    store.append(
        order,
        [
            OrderPaid(amount=Decimal("1.00"), currency="EUR"),
            OrderShipped(),
            OrderPaid(amount=Decimal("1"), currency="EUR"),
        ],
    )
    odd = [line for line in cli("show", order).out.splitlines() if line.startswith("anomalies")]
    assert [line.split("  ")[-1] for line in odd] == [
        "paid_before_created, shipped_before_created, paid_twice"
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--at", "someday"), '"someday" is not a time: give ISO 8601'),
        (("--at", "2026-02-30"), '"2026-02-30" is not a time'),
        (("--known", "03/04/2026"), '"03/04/2026" is not a time'),
        (("--version", 4), "has no version 4: its versions are 1 to 3"),
        (("--version", 0), "has no version 0: its versions are 1 to 3"),
        (
            ("--at", "2026-03-03T11:59:59Z"),
            "had no events at 2026-03-03 11:59:59.000 UTC: its first happened at 2026-03-03 12:00:00.000 UTC",
        ),
        (
            ("--known", "2020-01-01"),
            "was not known at 2020-01-01 00:00:00.000 UTC: its first event was recorded at 20",
        ),
    ],
)
def test_a_question_without_an_answer_is_one_line_and_exit_2(
    cli: Cli, order: UUID, arguments: tuple[object, ...], says: str
) -> None:
    ran = cli("show", order, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert says in ran.err


def test_a_refresh_keeps_states_of_long_streams_for_reads_to_start_from(cli: Cli, store: Store) -> None:
    order = uuid4()
    store.append(order, [OrderPaid(amount=Decimal("1.00"), currency="EUR")] * 250)
    refreshed = cli("refresh", "--json").json["projections"]
    assert refreshed["order_snapshots"]["orders"] == 1
    assert refreshed["daily_order_metrics"]["rows"] == 2  # the payments in EUR, the order in no currency yet
    with store.connection() as connection:
        kept = connection.execute("SELECT count(*) FROM order_checkpoints").fetchone()
    assert kept == (2,)
    assert cli("show", order, "--version", 249, "--json").json["paid_amount"] == "249.00"


def test_an_unknown_order_is_exit_2(cli: Cli) -> None:
    order = uuid4()
    for arguments, says in (((), "has no events"), (("--version", 1), "has no version 1: it has no events")):
        ran = cli("show", order, *arguments)
        assert (ran.code, ran.out, ran.err) == (2, "", f"error: order {order} {says}\n")


def test_the_python_api_answers_the_same(store: Store, order: UUID) -> None:
    paid = store.state(str(order), at=datetime(2026, 3, 4, 12))
    assert paid is not None
    assert (paid.status, paid.version) == ("Paid", 3)
    assert store.state(order) == store.current(order)
    assert store.state(order, known=datetime.now(UTC) - timedelta(days=1)) is None
    assert store.state(uuid4()) is None
    with pytest.raises(UnknownVersionError, match="has no version 9: its versions are 1 to 3"):
        store.state(order, version=9)
    with pytest.raises(ValueError, match='"order-1" is not a UUID'):
        store.state("order-1")
