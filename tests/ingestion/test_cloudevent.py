"""One line as an event of the log, or the reason why it is none."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.ingestion.limits import MAX_DEPTH
from eventstore.kernel.incoming import RefusedError
from tests.shipped import parse

Make = Callable[..., bytes]
NOON = int(datetime(2026, 3, 3, 12, tzinfo=UTC).timestamp()) * 1000


def refusal(line: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        parse(line)
    return raised.value


def test_a_cloud_event_becomes_a_row_of_the_log() -> None:
    line = (
        b' { "specversion" : "1.0", "id": "a/1", "source": "/s", "type":"OrderPaid",\t'
        b'"subject":"2E7A8482-f6fb-0975-6ca5-0c10d7bfc047","time":"2026-03-03T12:00:00.5Z",'
        b'"datacontenttype":"application/json","data": {"currency" :"EUR","amount":"1.50", '
        b'"x":[1.10,\t1E2]} }\r'
    )
    event = parse(line)
    assert event.order_id == "2e7a8482-f6fb-0975-6ca5-0c10d7bfc047"
    assert (event.event_type, event.source, event.source_id) == ("OrderPaid", "/s", "a/1")
    assert event.created_at == NOON + 500
    assert event.data == '{"currency" :"EUR","amount":"1.50", "x":[1.10,\t1E2]}'  # not encoded anew
    assert event.metadata == "{}"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-03-03T12:00:00Z", NOON),
        ("2026-03-03t12:00:00z", NOON),
        ("2026-03-03T14:00:00+02:00", NOON),
        ("2026-03-03T06:30:00.000-05:30", NOON),
        ("2026-03-03T12:00:00.0019Z", NOON + 1),
        ("2026-03-03T12:00:00.123456789Z", NOON + 123),
        ("2016-12-31T23:59:60Z", 1483228800000),  # a leap second: the last of 2016 is the first of 2017 here
        ("2016-12-31T18:59:60.250-05:00", 1483228800250),
        ("0001-01-01T00:00:00Z", -62135596800000),
        ("9999-12-31T23:59:59.999Z", 253402300799999),
        (None, None),
        (..., None),
    ],
)
def test_times_of_rfc_3339(event: Make, time: Any, expected: int | None) -> None:
    assert parse(event(time=time)).created_at == expected


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-03T12:00:00",  # no zone: whose noon?
        "2026-03-03",
        "yesterday",
        "",
        1772539200,
        "2026-02-30T12:00:00Z",
        "2026-03-03T24:00:00Z",
        "2026-03-03T12:00:61Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",  # is before the year 1
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        {"at": "noon"},
    ],
)
def test_what_is_no_time_is_said_so(event: Make, time: Any) -> None:
    assert refusal(event(time=time)).reason == "bad_time"


def test_attributes_without_a_column_go_to_the_metadata(event: Make) -> None:
    line = event(
        traceparent="00-abc-01", correlationid="c", sampled=True, tries=3, unset=None, schemaversion="2",
        dataschema="https://x/y", datacontenttype="Application/Vnd.X+JSON; charset=utf-8",
    )  # fmt: skip
    assert json.loads(parse(line).metadata) == {
        "traceparent": "00-abc-01",
        "correlationid": "c",
        "sampled": True,
        "tries": 3,
        "schema_version": 2,
        "dataschema": "https://x/y",
        "datacontenttype": "Application/Vnd.X+JSON; charset=utf-8",
    }


@pytest.mark.parametrize("given", [1, "1"])
def test_a_payload_of_version_1_counts_cents(event: Make, given: Any) -> None:
    line = event(schemaversion=given, data={"amount": 1250, "currency": "EUR"})
    assert json.loads(parse(line).metadata) == {"schema_version": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"specversion": ...}, "not_an_event"),
        ({"specversion": "0.3"}, "not_an_event"),
        ({"specversion": 1.0}, "not_an_event"),
        ({"id": ...}, "not_an_event"),
        ({"id": None}, "not_an_event"),
        ({"id": ""}, "not_an_event"),
        ({"id": 17}, "not_an_event"),
        ({"id": "x" * 2001}, "not_an_event"),
        ({"id": "ü" * 1001}, "not_an_event"),
        ({"source": ""}, "not_an_event"),
        ({"type": ...}, "not_an_event"),
        ({"type": "OrderTeleported"}, "unknown_type"),
        ({"type": "orderpaid"}, "unknown_type"),
        ({"subject": ...}, "bad_subject"),
        ({"subject": "order 17"}, "bad_subject"),
        ({"subject": 17}, "bad_subject"),
        ({"data": ...}, "bad_payload"),
        ({"data": None}, "bad_payload"),
        ({"data": []}, "bad_payload"),
        ({"data": "{}"}, "bad_payload"),
        ({"data": {}}, "bad_payload"),
        ({"data": {"amount": "1.00"}}, "bad_payload"),
        ({"data": {"amount": 1.5, "currency": "EUR"}}, "bad_payload"),
        ({"data": {"amount": 150, "currency": "EUR"}}, "bad_payload"),
        ({"data": {"amount": "1.50", "currency": "euro"}}, "bad_payload"),
        ({"schemaversion": 3}, "bad_payload"),
        ({"schemaversion": 0}, "bad_payload"),
        ({"schemaversion": "two"}, "bad_payload"),
        ({"schemaversion": 1}, "bad_payload"),  # with an amount of version 2
        ({"schema_version": 1}, "not_an_event"),
        ({"data_base64": "e30="}, "not_json_data"),
        ({"datacontenttype": "application/xml"}, "not_json_data"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(
    event: Make, changes: dict[str, Any], reason: str
) -> None:
    error = refusal(event(**changes))
    assert error.reason == reason
    assert error.detail


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (rb'"\u0000"', "nul_character"),
        (rb'{"\u0000":1}', "nul_character"),
        (rb'"\\\u0000"', "nul_character"),
        (rb'"\ud800"', "lone_surrogate"),
        (rb'"\udc00\ud800"', "lone_surrogate"),
        (rb'{"\ud800x":1}', "lone_surrogate"),
        (b'"\xff"', "not_utf8"),
        (b'"\xed\xa0\x80"', "not_utf8"),  # a surrogate in UTF-8
        (b'"\xc0\x80"', "not_utf8"),  # NUL, overlong
        (b"NaN", "not_json"),
        (b"1e400", "bad_payload"),
        (b"1" * 5000, "bad_payload"),
        (b'"\n"', "not_json"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b"[" * 100_000, "too_deep"),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "too_deep"),  # the payload itself is a level
    ],
)
def test_values_that_the_log_cannot_hold_are_refused(
    paid_with: Callable[[bytes], bytes], value: bytes, reason: str
) -> None:
    assert refusal(paid_with(value)).reason == reason


@pytest.mark.parametrize(
    "value",
    [
        rb'"\\u0000"',
        rb'"\\ud800"',
        rb'"\ud83d\ude00"',
        '"\U0001f600\u2028\x7f"'.encode(),
        b"1e308",
        b"-0.0",
        b"1" * 300,
        b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1),
        b'"' + b"[" * 1000 + rb"\"{\\" + b'"',
        b"[" + b"{}," * 1000 + b"{}]",
    ],
)
def test_values_that_only_look_dangerous_are_taken_as_they_are(
    paid_with: Callable[[bytes], bytes], value: bytes
) -> None:
    assert value.decode() in parse(paid_with(value)).data


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_line_raises_anything_but_its_refusal(line: bytes) -> None:
    assert refusal(line).detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(
    ["specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype", "schemaversion"]
)


@given(st.dictionaries(NAMES | st.text(max_size=5), JSON, max_size=3))
def test_no_attribute_of_any_type_raises_anything_but_its_refusal(changes: dict[str, Any]) -> None:
    attributes = {
        "specversion": "1.0",
        "id": "1",
        "source": "/tests",
        "type": "OrderShipped",
        "subject": "2e7a8482-f6fb-0975-6ca5-0c10d7bfc047",
        "data": {},
    } | changes
    try:
        event = parse(json.dumps(attributes).encode())
    except RefusedError:
        return
    assert json.loads(event.data) == attributes["data"]
    lost = {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "data",
        "datacontenttype",
        "schemaversion",
    }
    kept = {name: value for name, value in attributes.items() if name not in lost and value is not None}
    assert json.loads(event.metadata).items() >= kept.items()


@pytest.mark.parametrize("time", ["no time", "2016-12-31T23:59:60Z"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("[" * 5000, "too_deep"),
        ('{"x":' * 5000 + "1" + "}" * 5000, "too_deep"),
        ('{"x": "\\ud800"}', "lone_surrogate"),
        ('{"x": tru', "not_json"),
    ],
    ids=range(4),
)
def test_what_is_malformed_behind_a_time_that_is_none_is_refused_too(
    event: Callable[..., bytes], time: str, data: str, reason: str
) -> None:
    line = event(time=time, data="HERE").replace(b'"HERE"', data.encode())
    with pytest.raises(RefusedError) as refused:
        parse(line)
    assert refused.value.reason == reason
