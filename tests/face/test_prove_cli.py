"""`eventstore prove`, and what `status` says of it."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg

Cli = Callable[..., Any]


def append_orders(cli: Cli, number: int) -> list[str]:
    orders = sorted(str(uuid4()) for _ in range(number))
    for order in orders:
        cli("append", order, "OrderShipped", "{}")
    cli("refresh")
    return orders


def test_prove_says_what_it_looked_at_and_status_how_far_it_is(cli: Cli) -> None:
    append_orders(cli, 3)
    assert "never: run `eventstore prove`" in cli("status", "--details").out
    ran = cli("prove")
    assert (ran.code, ran.err) == (0, "")
    assert "3 events, to the end" in ran.out
    proof = cli("status", "--json").json["proofs"]["orders"]
    assert proof["findings"] == 0
    assert proof["whole_at"] is not None
    assert "never: run `eventstore prove`" not in cli("status", "--details").out


def test_a_row_that_differs_from_the_log_ends_it_with_1_until_it_is_mended(
    cli: Cli, connection: psycopg.Connection[Any]
) -> None:
    _, wrong, _ = append_orders(cli, 3)
    connection.execute("UPDATE orders SET status = 'Wrong' WHERE order_id = %s", (wrong,))
    ran = cli("prove")
    assert ran.code == 1
    assert f"{wrong}: its rows in orders differ from a fold of its events" in ran.out
    found = cli("prove", "--json").json
    assert [finding[0] for finding in found["orders"]["findings"]] == [wrong]
    assert wrong in cli("status", "--details").out
    cli("replay")
    assert cli("prove").code == 0
    assert wrong not in cli("status", "--details").out


def test_a_run_keeps_to_the_setting_and_all_means_all(cli: Cli) -> None:
    append_orders(cli, 3)
    refused = cli("settings", "proof_budget", "5")
    assert refused.code == 1
    assert "is between 1000 and" in refused.err
    assert cli("settings", "proof_budget", "5000").code == 0
    assert cli("prove", "--all", "--json").json["order_history"]["finished"] is True
