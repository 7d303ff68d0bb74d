"""Any line of a file, and any row of the staging table: kept as a reject with its reason, or harmless."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.robustness import strategies
from tests.robustness.everything import done, run_everything
from tests.robustness.naive import Given, as_json, as_line
from tests.robustness.senders import is_refused_with_a_reason


@given(
    orders=strategies.good_orders,
    bad=st.lists(strategies.lines, min_size=60, max_size=60),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=2, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
def test_a_line_is_rejected_with_a_reason_or_harms_its_order_alone(
    fresh: Callable[[], AbstractContextManager[str]],
    tmp_path: Path,
    orders: list[list[Given]],
    bad: list[bytes],
    chance: random.Random,
) -> None:
    good = {uuid4(): events for events in orders}
    lines = [
        as_line(order, number, event) for order, events in good.items() for number, event in enumerate(events)
    ]
    for line in bad:
        lines.insert(chance.randrange(len(lines) + 1), line.replace(b"\n", b" "))
    path = tmp_path / "any.ndjson"
    path.write_bytes(b"\n".join(lines))
    with fresh() as url:
        done(url, "ingest", path, "--json")
        with psycopg.connect(url) as connection:
            (events, rejects) = connection.execute(
                "SELECT (SELECT count(*) FROM order_events), (SELECT count(*) FROM rejects)"
            ).fetchone() or (0, 0)
            others = connection.execute(
                "SELECT DISTINCT order_id FROM order_events WHERE order_id <> ALL(%s)", (list(good),)
            ).fetchall()
            reasons = connection.execute("SELECT reason, detail FROM rejects").fetchall()
        assert sum(map(len, orders)) <= events
        assert events + rejects <= len(lines)
        assert all(reason and 3 < len(detail) <= 500 for reason, detail in reasons)
        run_everything(url, good, [order for (order,) in others])


_ROWS = st.tuples(
    st.sampled_from(strategies.TYPES) | strategies.clean_texts,
    strategies.clean_payloads,
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(0, 10**13),
    strategies.clean_texts,
    strategies.clean_texts,
    strategies.clean_objects,
)


@given(orders=strategies.good_orders, rows=st.lists(_ROWS, min_size=40, max_size=40))
@settings(max_examples=1, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
def test_a_staged_row_is_refused_with_a_reason_or_harms_its_order_alone(
    fresh: Callable[[], AbstractContextManager[str]],
    orders: list[list[Given]],
    rows: list[tuple[Any, ...]],
) -> None:
    good = {uuid4(): events for events in orders}
    others: list[UUID] = []
    with fresh() as url, psycopg.connect(url, autocommit=True) as ingester:
        ingester.execute("SET ROLE eventstore_ingester")
        for order, events in good.items():
            _stage(ingester, order, [_staged(number, event) for number, event in enumerate(events)])
        for row in rows:
            order = uuid4()
            try:
                _stage(ingester, order, [row])
            except psycopg.Error as refused:
                is_refused_with_a_reason(refused)
            else:
                others.append(order)
        run_everything(url, good, others)


def _staged(number: int, event: Given) -> tuple[Any, ...]:
    return event.type, as_json(event)["data"], event.at, "/good", str(number), {}


def _stage(ingester: psycopg.Connection[Any], order: UUID, rows: list[tuple[Any, ...]]) -> None:
    with ingester.transaction():
        ingester.execute("SELECT open_staging()")
        for line, (event_type, data, at, source, source_id, metadata) in enumerate(rows):
            ingester.execute(
                "INSERT INTO pg_temp.staged_events VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (line, order, event_type, Jsonb(data), at, source, source_id, Jsonb(metadata)),
            )
        ingester.execute("SELECT append_staged()")
