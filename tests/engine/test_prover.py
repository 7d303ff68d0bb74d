"""Proofs walk through everything in turn, a budget a run, and find what differs from a fold of the log."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.engine import prover
from eventstore.engine.invariants.fold import fold_proof
from eventstore.engine.invariants.overlapping import overlaps_proof
from eventstore.engine.prover import Finding, Proof, Run, Share, budget_of, prove, proven
from eventstore.engine.standing import lag_of, watermark
from eventstore.log.append import append_json
from eventstore.log.connection import open_connection
from eventstore.orders.domain import HISTORY, ORDERS
from tests.shipped import refresh

Database = psycopg.Connection[Any]
PROJECTIONS = pytest.mark.parametrize("projection", [ORDERS, HISTORY], ids=["orders", "order_history"])
PAID = {"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}, "created_at": 2_000}
SHIPPED = {"type": "OrderShipped", "data": {}, "created_at": 1_000}


class Numbers:
    """Something to be proven: the numbers below ``size``, of which those in ``wrong`` are wrong."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.wrong: set[int] = set()
        self.looked_at: list[int] = []

    def proof(self) -> Proof:
        return Proof("numbers", "They are right.", self.prove, self.again, lambda _: self.size)

    def prove(self, _: Database, after: str | None, events: int) -> Share:
        first = int(after or 0)
        last = min(first + events, self.size)
        self.looked_at += range(first, last)
        found = self.again(_, [str(number) for number in range(first, last)])
        return Share(str(last) if last < self.size else None, last - first, found)

    def again(self, _: Database, subjects: Sequence[str]) -> list[Finding]:
        return [Finding(subject, "wrong") for subject in subjects if int(subject) in self.wrong]


def append_orders(connection: Database, number: int) -> list[UUID]:
    orders = [uuid4() for _ in range(number)]
    for order in orders:
        append_json(connection, order, [PAID, SHIPPED])
    return sorted(orders)


def subjects(run: Run) -> list[str]:
    return [finding.subject for finding in run.findings]


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prover, "_SHARE", 4)


def test_each_run_goes_on_where_the_last_one_ended_and_after_the_end_begins_anew(
    connection: Database,
) -> None:
    numbers = Numbers(size=25)
    runs = [prove(connection, numbers.proof(), 10) for _ in range(4)]
    assert numbers.looked_at == [*range(25), *range(10)]
    assert [run.finished for run in runs] == [False, False, True, False]


def test_a_run_looks_at_no_more_than_its_budget_and_at_all_of_it_when_told(connection: Database) -> None:
    numbers = Numbers(size=100)
    assert prove(connection, numbers.proof(), 10).events == 10
    numbers.looked_at.clear()
    assert prove(connection, numbers.proof(), None).finished
    assert numbers.looked_at == list(range(100))


def test_it_is_known_how_far_it_is_and_when_all_was_proven(connection: Database) -> None:
    proof = Numbers(size=20).proof()
    before = proven(connection, proof)
    assert (before.share, before.proven_at, before.whole_at, before.whole_by) == (0, None, None, None)
    prove(connection, proof, 10)
    half = proven(connection, proof)
    assert (half.share, half.whole_at, half.whole_by) == (0.5, None, None)
    assert half.proven_at is not None
    connection.execute("UPDATE proofs SET run_began_at = run_began_at - interval '1 day'")
    prove(connection, proof, 5)
    later = proven(connection, proof)
    assert later.whole_by is not None
    assert later.proven_at is not None
    assert round((later.whole_by - later.proven_at).total_seconds() / 86_400) == 1  # 5 of 20 are left
    prove(connection, proof, 10)
    whole = proven(connection, proof)
    assert whole.share == 0
    assert whole.whole_at is not None
    assert whole.whole_since is not None
    assert whole.whole_since <= half.proven_at <= whole.whole_at


def test_a_finding_stays_until_it_is_mended_and_is_looked_at_in_each_run(connection: Database) -> None:
    numbers = Numbers(size=100)
    numbers.wrong = {3, 7}
    assert subjects(prove(connection, numbers.proof(), 10)) == ["3", "7"]
    assert subjects(prove(connection, numbers.proof(), 10)) == ["3", "7"]
    numbers.wrong = {7, 25}
    assert subjects(prove(connection, numbers.proof(), 10)) == ["7", "25"]
    assert proven(connection, numbers.proof()).first_findings == ["7: wrong", "25: wrong"]


def test_a_run_that_is_killed_loses_no_more_than_a_share(connection: Database) -> None:
    numbers = Numbers(size=100)

    def killed(_: int) -> None:
        if len(numbers.looked_at) == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove(connection, numbers.proof(), 50, killed)
    prove(connection, numbers.proof(), 4)
    assert numbers.looked_at == list(range(16))


def test_only_so_many_findings_are_kept(connection: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prover, "_KEPT", 10)
    numbers = Numbers(size=100)
    numbers.wrong = set(range(100))
    assert len(prove(connection, numbers.proof(), None).findings) == 10


@PROJECTIONS
def test_rows_that_are_the_fold_of_their_events_are_proven_share_by_share(
    connection: Database, projection: Any
) -> None:
    append_orders(connection, 10)
    refresh(connection, projection)
    run = prove(connection, fold_proof(projection), None)
    assert (run.events, run.finished, run.findings) == (20, True, [])


@PROJECTIONS
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE {} SET paid_amount = 9 WHERE order_id = %s",
        "UPDATE {} SET anomalies = '{{x}}' WHERE order_id = %s",
        "DELETE FROM {} WHERE order_id = %s",
    ],
)
def test_a_row_that_differs_is_found_in_whichever_share_it_is(
    connection: Database, projection: Any, damage: str
) -> None:
    orders = append_orders(connection, 9)
    refresh(connection, projection)
    for order in (orders[0], orders[4], orders[8]):
        connection.execute(damage.format(projection.name), (order,))
    run = prove(connection, fold_proof(projection), None)
    assert sorted(subjects(run)) == [str(orders[0]), str(orders[4]), str(orders[8])]


@PROJECTIONS
def test_a_row_of_an_order_that_has_no_events_is_found(connection: Database, projection: Any) -> None:
    first, *_ = append_orders(connection, 3)
    refresh(connection, projection)
    stranger = UUID(int=first.int - 1)
    columns = ", ".join(column for column in projection.table_columns if column != "order_id")
    connection.execute(
        f"INSERT INTO {projection.name} (order_id, {columns}) SELECT %s, {columns} "
        f"FROM {projection.name} WHERE order_id = %s LIMIT 1",
        (stranger, first),
    )
    assert subjects(prove(connection, fold_proof(projection), None)) == [str(stranger)]


@PROJECTIONS
def test_events_that_the_rows_do_not_hold_yet_are_no_finding(
    connection: Database, database_url: str, projection: Any
) -> None:
    orders = append_orders(connection, 3)
    with open_connection(database_url) as writer, writer.transaction():
        append_json(writer, uuid4(), [PAID])  # open
        append_json(connection, orders[0], [PAID])  # so this waits
        refresh(connection, projection)
        assert prove(connection, fold_proof(projection), None).findings == []
        assert lag_of(connection, watermark(connection, projection.name)).events == 1


@PROJECTIONS
def test_orders_in_quarantine_are_left_to_their_own_check(connection: Database, projection: Any) -> None:
    append_orders(connection, 2)
    append_json(connection, uuid4(), [SHIPPED, {"type": "OrderPaid", "data": {}}])
    refresh(connection, projection)
    assert prove(connection, fold_proof(projection), None).findings == []


def test_overlapping_rows_of_the_history_are_found_and_gone_when_mended(connection: Database) -> None:
    orders = append_orders(connection, 5)
    refresh(connection, HISTORY)
    proof = overlaps_proof(HISTORY)
    assert prove(connection, proof, None).findings == []
    connection.execute(
        "UPDATE order_history SET valid_to = valid_to + interval '1 day' "
        "WHERE order_id = %s AND recorded_to = 'infinity' AND valid_to <> 'infinity'",
        (orders[3],),
    )
    assert subjects(prove(connection, proof, None)) == [str(orders[3])]
    connection.execute(
        "UPDATE order_history SET valid_to = valid_to - interval '1 day' "
        "WHERE order_id = %s AND recorded_to = 'infinity' AND valid_to <> 'infinity'",
        (orders[3],),
    )
    assert prove(connection, proof, 1).findings == []


def test_what_cannot_be_shared_waits_for_all_where_it_is_more_than_a_run_may_do(
    connection: Database,
) -> None:
    numbers = Numbers(size=10)
    proof = replace(numbers.proof(), in_one=True)
    assert prove(connection, proof, 20).finished
    assert proven(connection, proof).proven_at is not None
    numbers.size, numbers.looked_at = 30, []
    assert (prove(connection, proof, 20).events, numbers.looked_at) == (0, [])
    assert proven(connection, proof).proven_at is None  # nobody is late with it
    assert prove(connection, proof, None).events == 30


def test_only_what_costs_a_fold_shares_the_budget_of_a_run(connection: Database) -> None:
    proof = Numbers(size=1).proof()
    proofs = [proof, proof, replace(proof, is_cheap=True), replace(proof, in_one=True)]
    assert budget_of(connection, proofs) == budget_of(connection, []) // 2
