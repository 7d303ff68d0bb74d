"""What any event from outside must satisfy, whichever format proposes it."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from eventstore.ingestion.admission import MAX_IDENTITY, StagedEvent, admit
from eventstore.ingestion.limits import MAX_DEPTH
from eventstore.ingestion.staging import append
from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event
from eventstore.kernel.incoming import Proposed, RefusedError

Connection = psycopg.Connection[Any]
ORDER = UUID("2e7a8482-f6fb-0975-6ca5-0c10d7bfc047")
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp()) * 1000


class DoorOpened(Event, frozen=True, kw_only=True):
    by: str | None = None


DOORS = Codec([DoorOpened], upcasters={1: lambda _, payload: payload})


def proposed(**changes: Any) -> Proposed:
    event = Proposed("DoorOpened", "/doors", "1", ORDER, NOON, b'{"by": "ann"}')
    return msgspec.structs.replace(event, **changes)


def refusal(**changes: Any) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        admit(proposed(**changes), DOORS)
    assert raised.value.detail
    return raised.value


def test_a_good_event_is_admitted_as_it_is() -> None:
    event = admit(proposed(version="1", metadata={"actor": "ann", "tries": 3}), DOORS)
    assert (event.order_id, event.event_type, event.created_at) == (str(ORDER), "DoorOpened", NOON_MS)
    assert (event.source, event.source_id, event.data) == ("/doors", "1", '{"by": "ann"}')
    assert json.loads(event.metadata) == {"actor": "ann", "tries": 3, "schema_version": 1}
    assert admit(proposed(), DOORS).metadata == "{}"


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (None, None),
        (NOON, NOON_MS),
        (NOON.astimezone(timezone(timedelta(hours=5))), NOON_MS),
        ("2026-03-03T12:00:00Z", NOON_MS),
        ("2026-03-03T13:00:00.25+01:00", NOON_MS + 250),
        ("2016-12-31T23:59:60Z", 1483228800000),
    ],
)
def test_a_time_is_a_moment_or_its_text(time: object, expected: int | None) -> None:
    assert admit(proposed(time=time), DOORS).created_at == expected


def test_a_subject_is_a_uuid_or_its_text() -> None:
    for subject in (ORDER, str(ORDER), str(ORDER).upper()):
        assert admit(proposed(subject=subject), DOORS).order_id == str(ORDER)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": None}, "not_an_event"),
        ({"source": ""}, "not_an_event"),
        ({"id": None}, "not_an_event"),
        ({"source": "s" * MAX_IDENTITY}, "not_an_event"),
        ({"id": "ü" * (MAX_IDENTITY // 2)}, "not_an_event"),
        ({"id": "\ud800"}, "lone_surrogate"),
        ({"id": "a\0"}, "nul_character"),
        ({"type": "DoorClosed"}, "unknown_type"),
        ({"type": "\ud800\0"}, "unknown_type"),
        ({"subject": None}, "bad_subject"),
        ({"subject": "door 5"}, "bad_subject"),
        ({"subject": "\ud800"}, "bad_subject"),
        ({"subject": 5}, "bad_subject"),
        ({"time": NOON.replace(tzinfo=None)}, "bad_time"),
        ({"time": date(2026, 3, 3)}, "bad_time"),
        ({"time": "noon"}, "bad_time"),
        ({"time": "\ud800"}, "bad_time"),
        ({"time": "9999-12-31T23:59:60Z"}, "bad_time"),
        ({"version": 0}, "bad_payload"),
        ({"version": 3}, "bad_payload"),
        ({"version": "one"}, "bad_payload"),
        ({"version": "١"}, "bad_payload"),
        ({"version": 10**5000}, "bad_payload"),
        ({"data": b""}, "bad_payload"),
        ({"data": b"[]"}, "bad_payload"),
        ({"data": b'{"by"'}, "bad_payload"),
        ({"data": b'{"by": 5}'}, "bad_payload"),
        ({"data": b'{"by": "\xff"}'}, "bad_payload"),
        ({"data": b'{"by": "a\0"}'}, "bad_payload"),
        ({"data": b'{"x": ' + b"1" * 500 + b"}"}, "bad_payload"),
        ({"data": b'{"by": "\\u0000"}'}, "nul_character"),
        ({"data": b'{"x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}"}, "too_deep"),
        ({"data": b"[" * 100_000}, "too_deep"),
        ({"metadata": {"actor": "a\0"}}, "nul_character"),
        ({"metadata": {"\ud800": 1}}, "lone_surrogate"),
        ({"metadata": {"x": 10**500}}, "bad_payload"),
        ({"metadata": {"x": msgspec.Raw(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)}}, "too_deep"),
        ({"metadata": {"schema_version": 1}}, "not_an_event"),
    ],
)
def test_what_the_log_cannot_take_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert refusal(**changes).reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.none() | st.text(max_size=20) | st.text(st.characters(), min_size=600, max_size=900)
PAYLOADS = st.dictionaries(st.text() | st.just("by"), JSON, max_size=3)
OFTEN_GOOD = {
    "type": st.just("DoorOpened") | TEXTS,
    "source": st.just("/doors") | TEXTS,
    "id": st.uuids().map(str) | TEXTS,
    "subject": st.uuids() | st.uuids().map(str) | JSON,
    "time": st.none() | st.datetimes(timezones=st.just(UTC) | st.none()) | JSON,
    "data": PAYLOADS.map(lambda value: json.dumps(value).encode()) | st.binary(),
    "version": st.none() | st.integers(1, 2) | st.integers() | st.text(max_size=3),
    "metadata": st.just({}) | st.dictionaries(st.text(), JSON, max_size=3),
}


@given(st.fixed_dictionaries({}, optional=OFTEN_GOOD))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_proposed_is_refused_in_words_or_taken_by_the_database(
    connection: Connection, changes: dict[str, Any]
) -> None:
    try:
        event = admit(proposed(**{"id": str(uuid4())} | changes), DOORS)
    except RefusedError as error:
        assert error.reason
        assert error.detail
        return
    assert isinstance(event, StagedEvent)
    before = "SELECT FROM order_events WHERE (order_id, source, source_id) = (%s::uuid, %s, %s)"
    assume(connection.execute(before, (event.order_id, event.source, event.source_id)).rowcount == 0)
    [settled] = append(connection, [(1, event)], [], lambda _: None)
    assert settled.refused == []
