"""eventstore orders: find an order."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

Cli = Callable[..., Any]
ANN, BOB = UUID(int=0xA), UUID(int=0xB)
FIRST = UUID("0198c2f4-7d5e-7000-8000-3c9b1e5d2a10")
SECOND = UUID("0198c2f4-7d5e-7000-8000-ffffffffffff")
ODD = UUID("77777777-0000-4000-8000-3c9b1e5d2a10")


@pytest.fixture(autouse=True)
def three(cli: Cli) -> None:
    for order, customer, day in ((FIRST, ANN, 1), (SECOND, BOB, 2)):
        data = f'{{"customer_id": "{customer}", "amount": "12.50", "currency": "EUR"}}'
        cli("append", order, "OrderCreated", data, "--at", f"2026-03-0{day}")
    cli("append", ODD, "OrderShipped", "{}", "--at", "2026-03-03")
    cli("append", ODD, "OrderCancelled", "{}", "--at", "2026-03-04")
    cli("refresh")


def found(cli: Cli, *arguments: object) -> list[str]:
    return [order["order_id"] for order in cli("orders", *arguments, "--json").json["orders"]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [ODD, SECOND, FIRST]),
        (("0198c2f4",), [SECOND, FIRST]),
        (("0198C2F4-7d5e-7000-8000-3",), [FIRST]),
        (("0198c2f47d5e700080003",), [FIRST]),
        (("3c9b1e5d2a10",), [ODD, FIRST]),
        ((FIRST,), [FIRST]),
        (("5555",), []),
        (("--customer", BOB), [SECOND]),
        (("--status", "Created"), [SECOND, FIRST]),
        (("--status", "Created", "--customer", ANN), [FIRST]),
        (("--since", "2026-03-02"), [ODD, SECOND]),
        (("--anomaly", "any"), [ODD]),
        (("--anomaly", "cancelled_after_shipped", "--anomaly", "created_twice"), [ODD]),
        (("--anomaly", "created_twice"), []),
        (("0198c2f4", "--status", "Shipped"), []),
    ],
)
def test_orders_are_found_by_a_piece_of_the_id_and_by_what_they_are_like(
    cli: Cli, arguments: tuple[object, ...], expected: list[UUID]
) -> None:
    assert found(cli, *arguments) == list(map(str, expected))


def test_a_limit_says_that_there_are_more(cli: Cli) -> None:
    first = cli("orders", "--limit", 2, "--json").json
    assert (len(first["orders"]), first["more"]) == (2, True)
    assert cli("orders", "--limit", 3, "--json").json["more"] is False


def test_in_a_pipe_each_order_is_a_line(cli: Cli) -> None:
    head, first, *rest = cli("orders").out.splitlines()
    assert head.split("\t") == ["order", "status", "last event", "amount", "odd"]
    assert first.split("\t")[0] == str(ODD)
    assert "cancelled_after_shipped" in first
    assert "12.50 EUR" in rest[0]


@pytest.mark.parametrize(
    "arguments", [("xyz",), ("%",), ("0" * 33,), ("--customer", "ann"), ("--since", "someday"), ("",)]
)
def test_what_no_order_can_have_is_a_mistake_of_one_line(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = cli("orders", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
