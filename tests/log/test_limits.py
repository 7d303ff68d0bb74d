"""What the log takes, every reader can read: the same limits for SQL, for Python, for COPY and for files."""

import json
import math
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from eventstore.kernel.incoming import RefusedError
from eventstore.log.append import append_json
from eventstore.log.errors import InvalidEventError
from tests.shipped import parse

Connection = psycopg.Connection[Any]


def nested(depth: int) -> str:
    """A JSON object that is ``depth`` levels deep."""
    return '{"x":' * depth + "1" + "}" * depth


def take(connection: Connection, data: str, metadata: str = "{}", event_type: str = "SomethingElse") -> None:
    event = f'[{{"type": {json.dumps(event_type)}, "data": {data}, "metadata": {metadata}}}]'
    connection.execute("SELECT append_events(%s, %s::jsonb)", (uuid4(), event))


WITHIN = [
    nested(100),
    '{"x": ' + "9" * 308 + "}",
    '{"x": 1e308}',
    '{"x": -1e308}',
    '{"x": 1e-390}',
    '{"x": "' + "9" * 5000 + '"}',
    '{"x": "' + "[" * 5000 + '"}',
    '{"x": "' + "y" * 1_000_000 + '"}',
    '{"amount": "1.50000000000000000"}',
    '{"x": [[[[1, 2.5, null, true]]]], "": "\\u001b"}',
]
BEYOND = [
    (nested(101), "deeper than 100 levels"),
    (nested(2000), "deeper than 100 levels"),
    ('{"x": ' + "[" * 100 + "]" * 100 + "}", "deeper than 100 levels"),
    ('{"x": 1e20000}', "number 100"),
    ('{"x": -1e309}', "number -100"),
    ('{"x": ' + "9" * 309 + "}", "number 999"),
    ('{"x": [1, {"y": ' + "1" * 5000 + "}]}", "number 111"),
    ('{"x": 0.' + "0" * 400 + "1}", "number 0.00"),
    ('{"x": "' + "y" * 1_100_000 + '"}', "more than 1048576"),
    ('{"amount": "1.' + "0" * 30 + '"}', "more than 20 characters"),
    ('{"amount": "1.' + "0" * 20_000 + '"}', "more than 20 characters"),
]


@pytest.mark.parametrize("data", WITHIN, ids=range(len(WITHIN)))
def test_an_event_within_the_limits_is_recorded(connection: Connection, data: str) -> None:
    take(connection, data)
    assert connection.execute("SELECT count(*) FROM order_events").fetchone() == (1,)


@pytest.mark.parametrize(("data", "said"), BEYOND, ids=range(len(BEYOND)))
def test_an_event_beyond_the_limits_is_refused_in_words(connection: Connection, data: str, said: str) -> None:
    with pytest.raises(
        psycopg.errors.CheckViolation, match="event SomethingElse cannot be recorded"
    ) as error:
        take(connection, data)
    assert said in str(error.value)
    assert len(str(error.value.diag.message_primary)) < 300
    if "amount" not in data:
        with pytest.raises(psycopg.errors.CheckViolation):
            take(connection, "{}", metadata=data)


@pytest.mark.parametrize(
    "version", ['"x"', '"0"', "0", "-1", "1.5", '""', "[2]", "true", "null", "1e10", '"1 "']
)
def test_a_payload_version_that_is_no_version_is_refused(connection: Connection, version: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="schema_version in its metadata is"):
        take(connection, "{}", f'{{"schema_version": {version}}}')


@pytest.mark.parametrize("version", ["1", "2", '"2"', "999999999"])
def test_a_payload_version_is_a_number_or_its_text(connection: Connection, version: str) -> None:
    take(connection, '{"amount": 1}' if version == "1" else "{}", f'{{"schema_version": {version}}}')


def test_python_says_it_as_an_invalid_event(connection: Connection) -> None:
    with pytest.raises(InvalidEventError, match="deeper than 100 levels"):
        append_json(connection, uuid4(), [{"type": "X", "data": json.loads(nested(101))}])


def test_the_limits_hold_for_the_staging_table_too(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="deeper than 100"), connection.transaction():
        connection.execute("SELECT open_staging()")
        connection.execute(
            "INSERT INTO pg_temp.staged_events VALUES (1, %s, 'X', %s, NULL, '/s', '1', '{}')",
            (uuid4(), nested(101)),
        )
        connection.execute("SELECT * FROM append_staged()")


def test_nobody_lifts_the_limits_by_a_setting(connection: Connection) -> None:
    connection.execute("SET eventstore.restoring = 'on'")
    with pytest.raises(psycopg.errors.CheckViolation, match="deeper than 100"):
        take(connection, nested(101))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=25,
)


@given(data=st.dictionaries(st.text(), json_values), metadata=st.dictionaries(st.text(), json_values))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_recorded_any_json_library_reads(
    connection: Connection, data: dict[str, Any], metadata: dict[str, Any]
) -> None:
    order = uuid4()
    try:
        connection.execute(
            "SELECT append_events(%s, %s)",
            (order, Jsonb([{"type": "X", "data": data, "metadata": metadata}])),
        )
    except psycopg.DataError:
        return  # what jsonb cannot hold: NUL, half of a surrogate pair
    except psycopg.errors.CheckViolation:
        return
    row = connection.execute(
        "SELECT event_data::text, metadata::text FROM order_events WHERE order_id = %s", (order,)
    ).fetchone()
    assert row is not None
    for text in row:
        json.loads(text, parse_int=lambda digits: math.isfinite(float(digits)) and int(digits))


@pytest.mark.parametrize(("data", "said"), BEYOND[:-3], ids=range(len(BEYOND) - 3))
def test_a_line_of_a_file_keeps_to_the_same_limits(data: str, said: str) -> None:
    payload = data.replace("{", '{"amount":"1.00","currency":"EUR",', 1)
    with pytest.raises(RefusedError):
        parse(line(payload))


@pytest.mark.parametrize("data", WITHIN[:-3], ids=range(len(WITHIN) - 3))
def test_a_line_of_a_file_within_the_limits_is_taken(connection: Connection, data: str) -> None:
    payload = data.replace("{", '{"amount":"1.00","currency":"EUR",', 1)
    take(connection, parse(line(payload)).data)


def line(payload: str) -> bytes:
    return (
        '{"specversion":"1.0","id":"1","source":"/s","type":"OrderPaid",'
        f'"subject":"{uuid4()}","data":{payload}}}'
    ).encode()
