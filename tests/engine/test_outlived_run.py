"""A run that outlives its machine: its bucket is replayed elsewhere at once, perhaps by newer rules."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine import replay as replaying
from eventstore.engine.replay import BucketReplayed
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import ORDERS
from eventstore.orders.events import OrderShipped
from eventstore.orders.order import OrderState
from tests.buckets import BUCKETS
from tests.engine.standing import before_call, begin
from tests.shipped import RULES, refresh, replay_bucket
from tests.shipped import promote_projection as promote

Connection = psycopg.Connection[Any]
_BUCKET = 3


def _shipped_is_delivered(state: OrderState, _event: OrderShipped, at: datetime) -> None:
    state.shipped_at = state.delivered_at = at


NEWER = replace(
    ORDERS,
    foldings=(
        *ORDERS.foldings,
        replace(RULES, version="newer", rules=dict(RULES.rules) | {OrderShipped: _shipped_is_delivered}),
    ),
)


@pytest.fixture
def sessions(database_url: str) -> Iterator[tuple[Connection, Connection]]:
    with open_connection(database_url) as second, open_connection(database_url) as observer:
        yield second, observer


@pytest.fixture
def order(connection: Connection) -> UUID:
    """An order of that bucket which the two rules see differently."""
    order = uuid4()
    while connection.execute("SELECT order_bucket(%s)", (order,)).fetchone() != (_BUCKET,):
        order = uuid4()
    append_json(connection, order, [{"type": "OrderShipped", "data": {}}])
    refresh(connection)
    return order


def status(connection: Connection, order: UUID, table: str = "orders") -> str:
    row = connection.execute(f"SELECT status FROM {table} WHERE order_id = %s", (order,)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("lost_run_is_first", [True, False])
def test_two_replays_of_a_bucket_at_once_one_by_older_rules_leave_a_bucket_that_is_what_it_says(
    connection: Connection,
    sessions: tuple[Connection, Connection],
    order: UUID,
    monkeypatch: pytest.MonkeyPatch,
    lost_run_is_first: bool,
) -> None:
    first, second = (ORDERS, NEWER) if lost_run_is_first else (NEWER, ORDERS)
    for bucket in set(range(BUCKETS)) - {_BUCKET}:
        replay_bucket(connection, bucket, NEWER)
    other, observer = sessions
    waiting: list[Future[BucketReplayed]] = []
    with ThreadPoolExecutor(1) as threads:
        before_call(
            monkeypatch,
            replaying,
            "horizon",
            1,
            lambda: waiting.append(
                begin(threads, observer, other, lambda: replay_bucket(other, _BUCKET, second))
            ),
        )
        replay_bucket(connection, _BUCKET, first)
        waiting[0].result(30)
    seen = {ORDERS.fold_version: "Shipped", NEWER.fold_version: "Delivered"}
    said = connection.execute(
        "SELECT fold_version FROM replay_buckets WHERE projection = 'orders' AND bucket = %s", (_BUCKET,)
    ).fetchone()
    assert said is not None
    assert status(connection, order, "orders_candidate") == seen[said[0]]
    # What the lost run did last is no bucket by the newer rules: nothing is promoted before it is one again.
    promoted = promote(connection, NEWER)
    assert (promoted is not None) is lost_run_is_first
    assert status(connection, order) == ("Delivered" if lost_run_is_first else "Shipped")
    if not lost_run_is_first:
        replay_bucket(connection, _BUCKET, NEWER)
        assert promote(connection, NEWER) is not None
        assert status(connection, order) == "Delivered"
