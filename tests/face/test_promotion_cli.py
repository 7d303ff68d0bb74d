"""The command line of a change of rules: replay --preview, promote, promotion, rollback."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine.change import same_rules
from eventstore.face.cli import projecting
from eventstore.kernel.folding import Folding
from eventstore.orders.domain import DOMAIN, HISTORY, ORDERS
from eventstore.orders.order import OrderState, status_of
from tests.buckets import BUCKETS
from tests.shipped import RULES, build_snapshots

Cli = Callable[..., Any]


def returned_status(state: OrderState) -> str:
    return "Returned" if "cancelled_after_shipped" in state.anomalies else status_of(state)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``install(*foldings)``: the release that knows these rules, the current ones last."""

    def install(*foldings: Folding) -> None:
        states, history = replace(ORDERS, foldings=foldings), replace(HISTORY, foldings=foldings)
        monkeypatch.setattr(projecting, "DOMAIN", replace(DOMAIN, states=states, history=history))

    return install


@pytest.fixture
def new_rules(install: Callable[..., None]) -> Callable[[], None]:
    """Call it to install the release in which an order cancelled after it was shipped counts as returned."""
    return lambda: install(RULES, replace(RULES, version="newer", status=returned_status))


def statuses(connection: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY 1").fetchall())


def as_of_now(connection: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(connection.execute("SELECT status, count(*) FROM orders_as_of(now()) GROUP BY 1").fetchall())


def test_a_new_rule_is_previewed_promoted_and_rolled_back(
    cli: Cli, connection: psycopg.Connection[Any], new_rules: Callable[[], None]
) -> None:
    for _ in range(3):
        order = uuid4()
        cli("append", order, "OrderShipped", "{}", "--at", "2026-03-01")
        cli("append", order, "OrderCancelled", "{}", "--at", "2026-03-02")
    cli("append", uuid4(), "OrderShipped", "{}", "--at", "2026-03-01")
    cli("refresh")
    new_rules()
    shown = cli("replay", "--preview", "--sample", "2")
    assert shown.code == 0
    assert f"{RULES.version} -> newer" in shown.out
    assert shown.out.count("status Returned") == 2 * len(("orders", "order_history"))
    assert "`eventstore promote`" in shown.out
    found = cli("replay", "--preview", "--json").json
    assert (found["changed"], found["columns"], len(found["sample"])) == (3, {"status": 3}, 3)
    assert found["projections"]["order_history"]["columns"] == {"status": 3}
    assert statuses(connection) == {"Cancelled": 3, "Shipped": 1}
    promoted = cli("promote", "--json").json
    assert [promoted[what] for what in ("added", "changed", "gone", "fold_version")] == [0, 3, 0, "newer"]
    assert statuses(connection) == as_of_now(connection) == {"Returned": 3, "Shipped": 1}
    back = cli("rollback", "--json").json
    assert (back["rules"], back["changed"]) == (RULES.version, 3)
    assert statuses(connection) == as_of_now(connection) == {"Cancelled": 3, "Shipped": 1}


def test_a_replay_changes_all_that_fold_by_these_rules_and_what_is_made_from_them(
    cli: Cli, connection: psycopg.Connection[Any], new_rules: Callable[[], None]
) -> None:
    order = uuid4()
    cli("append", order, "OrderShipped", "{}", "--at", "2026-03-01")
    cli("append", order, "OrderCancelled", "{}", "--at", "2026-03-02")
    cli("refresh")
    build_snapshots(connection, date(2026, 3, 2), date(2026, 3, 2))
    others = {each.name for each in DOMAIN.projections} - {each.name for each in same_rules(DOMAIN, ORDERS)}
    new_rules()
    done = cli("replay", "--json").json
    assert (done["changed"], done["projections"]["order_history"]["changed"]) == (1, 1)
    assert statuses(connection) == as_of_now(connection) == {"Returned": 1}
    assert connection.execute("SELECT status FROM order_snapshots").fetchall() == [("Returned",)]
    rules = connection.execute("SELECT name, fold_version FROM projections").fetchall()
    assert {version for name, version in rules if name not in others} == {"newer"}


def test_one_table_alone_is_changed_by_name_and_the_others_say_so(
    cli: Cli, connection: psycopg.Connection[Any], new_rules: Callable[[], None]
) -> None:
    order = uuid4()
    cli("append", order, "OrderShipped", "{}", "--at", "2026-03-01")
    cli("append", order, "OrderCancelled", "{}", "--at", "2026-03-02")
    cli("refresh")
    new_rules()
    assert cli("replay", "--only", "orders", "--preview").code == 0
    refused = cli("promote")
    assert refused.code == 1
    assert f"of order_history 0 of {BUCKETS} buckets stand by rules newer" in refused.err
    assert "`eventstore promote --only orders`" in refused.err
    assert statuses(connection) == {"Cancelled": 1}
    assert "projections" not in cli("promote", "--only", "orders", "--json").json
    assert (statuses(connection), as_of_now(connection)) == ({"Returned": 1}, {"Cancelled": 1})
    assert "Give one name" in cli("promote", "orders", "--only", "order_history").err


def test_the_history_of_the_orders_is_previewed_and_promoted_like_the_orders(
    cli: Cli, connection: psycopg.Connection[Any], new_rules: Callable[[], None]
) -> None:
    for kind, at in (("OrderShipped", "2026-03-01"), ("OrderCancelled", "2026-03-02")):
        cli("append", order := UUID(int=7), kind, "{}", "--at", at)
    cli("append", UUID(int=8), "OrderShipped", "{}", "--at", "2026-03-01")
    cli("refresh")
    new_rules()
    shown = cli("replay", "order_history", "--preview")
    assert (shown.code, "rows that change" in shown.out) == (0, True)
    assert "`eventstore promote order_history`" in shown.out
    found = cli("replay", "order_history", "--preview", "--json").json
    assert [found[what] for what in ("added", "gone", "changed", "columns", "totals")] == [
        0,
        0,
        1,
        {"status": 1},
        [],
    ]
    [pair] = found["sample"]
    assert (pair["order_id"], pair["which"]["valid_from"][:10]) == (str(order), "2026-03-02")
    assert (pair["before"], pair["after"]) == ({"status": "Cancelled"}, {"status": "Returned"})
    assert cli("promote", "order_history", "--json").json["changed"] == 1
    rows = connection.execute("SELECT status FROM orders_as_of('2026-03-02') ORDER BY order_id").fetchall()
    assert rows == [("Returned",), ("Shipped",)]


def test_what_cannot_be_promoted_or_rolled_back_says_what_to_do(
    cli: Cli, install: Callable[..., None]
) -> None:
    install(RULES)
    cli("append", uuid4(), "OrderShipped", "{}")
    nothing = cli("promote")
    assert nothing.code == 1
    assert f"0 of {BUCKETS} buckets stand" in nothing.err
    assert "`eventstore replay --preview`" in nothing.err
    history = cli("promote", "order_history")
    assert "`eventstore replay order_history --preview`" in history.err
    only_rules = cli("rollback")
    assert only_rules.code == 1
    assert "install the release before it" in only_rules.err
    assert "`eventstore replay order_history` there" in cli("rollback", "order_history").err
    for command in ("replay", "promote", "rollback"):
        assert 'there is no projection "order"; there are orders, order_history' in cli(command, "order").err


def test_each_projection_has_its_own_promotion_policy(cli: Cli) -> None:
    both = {"orders": "auto", "order_history": "auto"}
    assert cli("promotion", "--json").json == {"promotion": "auto", "projections": both}
    assert cli("promotion", "manual", "order_history", "--json").json == {"promotion": "manual"}
    both["order_history"] = "manual"
    assert cli("promotion", "--json").json == {"promotion": "auto", "projections": both}
    assert cli("promotion", "manual").out.split() == ["promotion", "manual"]
    assert cli("promotion", "--only", "order_history", "--json").json == {"promotion": "manual"}
    refused = cli("promotion", "sometimes")
    assert refused.code == 2
    assert "give auto or manual" in refused.err
