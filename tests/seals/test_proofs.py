"""A proof is checked with nothing but itself and a key, holds for its event alone, and no change survives."""

import json
import random
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.log.connection import Connection
from eventstore.seals.checkpoint import Signed, signed
from eventstore.seals.errors import SealError
from eventstore.seals.note import new_key
from eventstore.seals.outside import Outside
from eventstore.seals.proof import Proven, check_proof, read_proof, written
from eventstore.seals.proving import prove_event, prove_growth, sealed_checkpoint
from eventstore.seals.sealing import seal
from tests.buckets import BUCKETS
from tests.seals.tampering import altering

Append = Callable[..., list[UUID]]


@pytest.fixture
def in_steps(session: Connection, outside: Outside, append: Append) -> None:
    """Checkpoints around whole tiles and parts of them."""
    for orders, events in ((1, 200), (1, 300), (20, 30), (1, 12), (1, 600)):
        append(orders, events)
        seal(session, outside)


def key_of(outside: Outside) -> Any:
    key = outside.signing_key()
    assert key is not None
    return key


def checked(proof: Any, outside: Outside) -> Proven:
    return check_proof(read_proof(written(proof)), [key_of(outside).verifier])


@pytest.mark.usefixtures("in_steps")
def test_every_event_can_be_proven_against_every_checkpoint_that_seals_it(
    connection: psycopg.Connection[Any], session: Connection, outside: Outside
) -> None:
    rows = connection.execute(
        "SELECT id, order_id, version, event_type FROM order_events ORDER BY id"
    ).fetchall()
    for id_, order_id, version, event_type in random.Random(7).sample(rows, 60):
        for number in (None, 1, 2, 3, 4):
            made = sealed_checkpoint(session, number).checkpoint
            if id_ > made.horizon:
                with pytest.raises(SealError, match="came after checkpoint"):
                    prove_event(session, id_, number)
                continue
            found = checked(prove_event(session, id_, number), outside)
            assert found.verdict == "proven", found
            assert found.event is not None
            assert found.event[:4] == [str(id_), str(order_id), version, event_type]
            assert found.checkpoint == made.number
            assert found.signer == str(key_of(outside).verifier)


@pytest.mark.usefixtures("in_steps")
def test_a_checkpoint_goes_on_from_every_one_before_it(session: Connection, outside: Outside) -> None:
    notes = [sealed_checkpoint(session, number) for number in (1, 2, 3, 4, 5)]
    for old in notes:
        for new in notes:
            found = checked(prove_growth(session, old, new), outside)
            assert found.verdict == "proven", (old.checkpoint.number, new.checkpoint.number, found)


@pytest.mark.usefixtures("in_steps")
def test_whatever_is_changed_in_a_proof_refutes_it(session: Connection, outside: Outside) -> None:
    (id_,) = session.execute("SELECT id FROM order_events ORDER BY id OFFSET 250 LIMIT 1").fetchone() or ()
    proof = json.loads(written(prove_event(session, id_)))
    key = key_of(outside)
    others = [
        proof | {"leaf": proof["leaf"].replace("Order", "0rder", 1)},
        proof | {"leaf": proof["leaf"].replace(", ", ",")},
        proof | {"index": proof["index"] + 1},
        proof | {"index": -1},
        proof | {"bucket": (proof["bucket"] + 1) % BUCKETS},
        proof | {"bucket": BUCKETS},
        proof | {"path": proof["path"][1:]},
        proof | {"path": [*proof["path"], proof["path"][0]]},
        proof | {"path": ["!", *proof["path"][1:]]},
        proof | {"checkpoint": proof["checkpoint"].replace("checkpoint 5", "checkpoint 6")},
        proof | {"checkpoint": proof["checkpoint"].partition("\n\n")[0]},
        proof | {"checkpoint": ""},
    ]
    for other in others:
        found = check_proof(read_proof(json.dumps(other).encode()), [key.verifier])
        assert found.verdict == "refuted", other
    assert check_proof(read_proof(json.dumps(proof).encode()), [key.verifier]).verdict == "proven"
    assert check_proof(read_proof(json.dumps(proof).encode()), []).verdict == "unknown"
    assert check_proof(read_proof(json.dumps(proof).encode()), [new_key("x").verifier]).verdict == "refuted"


@pytest.mark.usefixtures("in_steps")
def test_a_checkpoint_that_forgot_something_cannot_be_proven_to_go_on(
    session: Connection, outside: Outside
) -> None:
    old, new = sealed_checkpoint(session, 2), sealed_checkpoint(session)
    bucket = next(bucket for bucket, head in enumerate(old.checkpoint.heads) if head.size)
    heads = list(old.checkpoint.heads)
    heads[bucket] = heads[bucket]._replace(root=bytes(32))
    other: Signed = signed(old.checkpoint._replace(heads=tuple(heads)), key_of(outside))
    with pytest.raises(SealError, match="does not lead"):
        prove_growth(session, other, new)
    proof = json.loads(written(prove_growth(session, old, new)))
    found = check_proof(
        read_proof(json.dumps(proof | {"old": other.written}).encode()), [key_of(outside).verifier]
    )
    assert found.verdict == "refuted"
    of_another_log = signed(old.checkpoint._replace(log="other"), new_key("other"))
    with pytest.raises(SealError, match="two logs"):
        prove_growth(session, of_another_log, new)


@pytest.mark.usefixtures("in_steps")
def test_what_is_not_as_it_was_sealed_is_not_proven(
    session: Connection, outside: Outside, append: Append
) -> None:
    (victim, kept) = (
        row[0] for row in session.execute("SELECT id FROM order_events ORDER BY id OFFSET 40 LIMIT 2")
    )
    put_in = UUID(int=kept.int + 1)
    with altering(session):
        session.execute("UPDATE order_events SET created_at = 0 WHERE id = %s", (victim,))
        session.execute(
            "INSERT INTO order_events (id, order_id, version, event_type, event_data, created_at) "
            "SELECT %s, order_id, 9999, event_type, event_data, created_at FROM order_events WHERE id = %s",
            (put_in, kept),
        )
    with pytest.raises(SealError, match="not as it was sealed"):
        prove_event(session, victim)
    with pytest.raises(SealError, match="somebody put it in"):
        prove_event(session, put_in)
    with pytest.raises(SealError, match="no event"):
        prove_event(session, uuid4())
    order = append(1)
    (new,) = session.execute("SELECT id FROM order_events WHERE order_id = %s", (order[0],)).fetchone() or ()
    with pytest.raises(SealError, match="`eventstore seal`"):
        prove_event(session, new)
    assert checked(prove_event(session, kept), outside).verdict == "proven"


def test_before_anything_is_sealed_nothing_is_proven(session: Connection, append: Append) -> None:
    append(1)
    with pytest.raises(SealError, match="nothing is sealed yet"):
        sealed_checkpoint(session)
    with pytest.raises(SealError, match="no checkpoint 3"):
        sealed_checkpoint(session, 3)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"proof": "event"}', b"\xff", b'{"proof": "x"}'])
def test_what_is_no_proof_is_refused(content: bytes) -> None:
    with pytest.raises(SealError, match="it is no proof"):
        read_proof(content)
