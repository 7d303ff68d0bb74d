"""While a change of rules is under way, answers about the past say so, and nobody's program breaks."""

import warnings
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore import Store, TwoInterpretationsWarning

Cli = Callable[..., Any]
Connection = psycopg.Connection[Any]


@pytest.fixture
def order(cli: Cli) -> UUID:
    order = uuid4()
    cli("append", order, "OrderShipped", "{}")
    cli("refresh")
    return order


def change_one_table(connection: Connection) -> None:
    connection.execute("UPDATE projections SET fold_version = 'next' WHERE name = 'order_history'")


def test_show_warns_beside_its_answer(cli: Cli, order: UUID, connection: Connection) -> None:
    before = cli("show", order, "--json")
    assert before.err == cli("show", order).err == ""
    change_one_table(connection)
    shown = cli("show", order)
    assert (shown.code, shown.err.count("\n")) == (0, 1)
    assert "warning: two interpretations are live: orders" in shown.err
    assert "order_history by rules next" in shown.err
    found = cli("show", order, "--json")
    assert (found.code, found.err) == (0, "")
    [rules] = found.json.pop("interpretations")
    assert rules["order_history"] == "next"
    assert rules["orders"] != "next"
    assert {**found.json, "interpretations": None}.keys() - before.json.keys() == {"interpretations"}


def test_an_answer_about_the_past_in_python_warns(store: Store, connection: Connection, order: UUID) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.state(order) is not None
    change_one_table(connection)
    another = Store(store.url, store.domain)
    with another, pytest.warns(TwoInterpretationsWarning, match="order_history by rules next") as said:
        state = another.state(order)
    assert state is not None
    assert state.status == "Shipped"
    assert said[0].filename == __file__


def test_a_store_asks_now_and_then_only(
    store: Store, connection: Connection, order: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.state(order)
    change_one_table(connection)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.state(order)
    monkeypatch.setattr(store, "_ask_at", 0.0)
    with pytest.warns(TwoInterpretationsWarning):
        store.state(order)
