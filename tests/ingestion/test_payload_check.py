"""The check of payloads lets through what the table takes, and nothing else."""

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eventstore.kernel.codec import PayloadError
from eventstore.orders.events import EVENTS

Connection = psycopg.Connection[Any]


def passes(event_type: str, payload: dict[str, Any], version: int) -> bool:
    try:
        EVENTS.check(event_type, json.dumps(payload).encode(), version)
    except PayloadError:
        return False
    return True


def taken(connection: Connection, event_type: str, payload: dict[str, Any], version: int) -> bool:
    event = {"type": event_type, "data": payload, "metadata": {"schema_version": version}}
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SELECT append_events(%s, %s)", (uuid4(), json.dumps([event])))
    except psycopg.errors.CheckViolation:
        return False
    return True


AMOUNTS = [
    "0", "-0", "0.00", "12.5", "12.50", "12.500", "12.505", "12.", ".5", "-12.50", "+12.50", "--1", "1E2",
    "1e2", "NaN", "Infinity", "sNaN", " 1", "1 ", "1\n", "1_000", "1,50", "0x10", "", "١٢", "１２",
    "99999999.99", "100000000", "100000000.00", "99999999.995", "00000001", "000000001",
    "1.0000000000000000000000000", 1, 1.5, 12.50, 0, -1, True, None, [], {}, ["1"], ["12.50"],
    9_999_999_999, 10_000_000_000,
]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("event_type", ["OrderPaid", "OrderShipped"])
def test_amounts_pass_where_the_table_takes_them(
    connection: Connection, event_type: str, version: int
) -> None:
    for amount in AMOUNTS:
        payload = {"amount": amount, "currency": "EUR"}
        as_the_table = taken(connection, event_type, payload, version)
        if version == 1 and isinstance(amount, str):
            as_the_table = False  # the table cannot tell, but version 1 had no strings
        assert passes(event_type, payload, version) == as_the_table, amount


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.text(alphabet="0019.-+eE_ ٣\n", max_size=13))
def test_any_amount_passes_where_the_table_takes_it(connection: Connection, amount: str) -> None:
    payload = {"amount": amount, "currency": "EUR"}
    assert passes("OrderPaid", payload, 2) == taken(connection, "OrderPaid", payload, 2)


@pytest.mark.parametrize(
    "data",
    [
        b'{"amount":"1.00","currency":"EUR","amount":5}',
        b'{"amount":"1.00","currency":"EUR","amount":"1.005"}',
        b'{"amount":"1.00","currency":"EUR","currency":null}',
    ],
)
def test_of_a_key_given_twice_the_last_one_counts_as_in_jsonb(connection: Connection, data: bytes) -> None:
    with pytest.raises(PayloadError):
        EVENTS.check("OrderPaid", data)
    turned = b'{"amount":5,' + data[1:-1].rpartition(b",")[0] + b"}"
    EVENTS.check("OrderPaid", turned)
    row = connection.execute("SELECT %s::jsonb ->> 'amount'", (turned.decode(),)).fetchone()
    assert row == ("1.00",)


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b'"x"', b"{", b'{"x":1e400}', b'{"x":"\xff"}', b"[" * 5000, b'{"x":"\\ud800"}'],
)
def test_what_is_no_readable_json_object_is_a_payload_error(data: bytes) -> None:
    with pytest.raises(PayloadError, match=r"^OrderShipped: "):
        EVENTS.check("OrderShipped", data)
