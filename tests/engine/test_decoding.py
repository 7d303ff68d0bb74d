"""Events that are decoded many at a time are those that each would be by itself."""

import gc
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.engine.garbage import rarely_collected
from eventstore.engine.reading import events_in
from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event, UnknownEvent
from eventstore.kernel.recorded import FoldEvent
from eventstore.orders.events import EVENTS


class Sent(Event, frozen=True, kw_only=True):
    grams: int

    def __post_init__(self) -> None:
        if self.grams < 0:
            raise ValueError("less than nothing")


class Lost(Event, frozen=True, kw_only=True):
    where: str | None = None


def kilograms_to_grams(_: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"grams": payload["kilograms"] * 1000} if "kilograms" in payload else payload


OLDEST = Codec((Sent, Lost))
NEWER = Codec((Sent, Lost), {1: lambda _, payload: payload, 2: kilograms_to_grams})


def row(number: int, event_type: str, payload: str, said: str | None = None) -> tuple[str]:
    head = [event_type, UUID(int=number), UUID(int=7), number, 1_000 + number, said]
    return (f"{msgspec.json.encode(head).decode()[:-1]},{payload}]",)


def told(event: FoldEvent) -> Any:
    try:
        return event.event
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return str(error).partition(" - at")[0]


def same(codec: Codec, rows: list[tuple[str]]) -> list[Any]:
    """What the events say; each must say the same by itself, and be the same but for that."""
    together = events_in(codec, rows)
    for event, alone in zip(together, rows, strict=True):
        undecoded = msgspec.json.decode(alone[0], type=codec.fold_event)
        assert told(event) == told(undecoded)
        for field in ("event_type", "id", "order_id", "version", "created_at"):
            assert getattr(event, field) == getattr(undecoded, field)
    return [told(event) for event in together]


def test_payloads_of_known_types_are_decoded_with_all_they_carry_beside() -> None:
    rows = [row(1, "Sent", '{"grams": 5, "more": [1, {"x": null}]}'), row(2, "Lost", "{}")]
    assert same(OLDEST, rows) == [Sent(grams=5), Lost()]


@pytest.mark.parametrize("place", [0, 150, 250, 399])
@pytest.mark.parametrize(
    ("event_type", "payload", "said"),
    [
        ("Unheard", '{"x": 1}', None),
        ("Sent", '{"grams": "5"}', None),
        ("Sent", '{"grams": -5}', None),
        ("Sent", "[]", None),
        ("Sent", '{"grams": 5}', "9"),
        ("Sent", '{"grams": 5}', "nonsense"),
        ('Se"nt', "{}", None),
        ("Sent", '{"grams": 5, "x": ' + "[" * 5_000 + "]" * 5_000 + "}", None),
    ],
)
def test_one_that_makes_no_sense_changes_nothing_about_the_others(
    place: int, event_type: str, payload: str, said: str | None
) -> None:
    rows = [row(n, "Sent", f'{{"grams": {n}}}') for n in range(400)]
    rows[place] = row(place, event_type, payload, said)
    together = events_in(OLDEST, rows)
    assert [event.version for event in together] == list(range(400))
    assert [told(event) for event in together if event.version != place] == [
        Sent(grams=n) for n in range(400) if n != place
    ]
    assert together[place].event_type == event_type
    assert told(together[place]) != Sent(grams=place)


def test_a_payload_of_an_older_version_is_converted_whatever_it_looks_like() -> None:
    rows = [
        row(1, "Sent", '{"kilograms": 2}'),
        row(2, "Sent", '{"kilograms": 2, "grams": 5}'),  # would pass for one that is written now
        row(3, "Sent", '{"grams": 5}', "3"),
        row(4, "Sent", '{"kilograms": 3, "grams": 5}', "2"),
        row(5, "Lost", '{"where": "at sea"}', "3"),
    ]
    said = same(NEWER, rows)
    assert said == [Sent(grams=2000), Sent(grams=2000), Sent(grams=5), Sent(grams=3000), Lost(where="at sea")]
    assert same(NEWER, rows[2:3]) == said[2:3]
    assert same(NEWER, rows[1:2]) == said[1:2]


#: As JSON: what numbers, times, ids and texts may look like, and what only looks like one.
VALUES = st.one_of(
    st.integers(-(10**400), 10**400).map(str),
    st.sampled_from(["-0", "-0.0", "0.10", "12.5", "12.345", "1E2", "1e400", "1e-400", "1.0"]),
    st.sampled_from(["null", "true", "[]", "{}", "[[1]]", '{"amount": 1}', '"EUR"', '"eur"', r'"E\u0055R"']),
    st.sampled_from(['"12.50"', '"1e2"', '"-3.00"', '"NaN"', '"-Infinity"', '" 12.50"', '"1_000"', '"１２"']),
    st.sampled_from(['"2026-01-01T00:00:00Z"', '"2026-01-01"', '"2026-01-01T24:00:00"']),
    st.uuids().map(lambda customer: f'"{customer}"'),
    st.text(st.characters(codec="utf-8"), max_size=5).map(lambda text: msgspec.json.encode(text).decode()),
)
FIELDS = st.sampled_from(
    ["amount", "currency", "customer_id", "carrier", "estimated_delivery", "reason", "type", "event_type"]
)
#: Nearly right, with keys that may be there twice.
PAYLOADS = st.lists(st.tuples(FIELDS, VALUES), max_size=3).flatmap(
    lambda more: st.permutations(
        [("amount", '"12.50"'), ("currency", '"EUR"'), ("customer_id", f'"{UUID(int=7)}"'), *more]
    )
)
SAID = st.sampled_from([None, None, "2", "1", "3", "02", "999999999", "nonsense"])


@given(
    st.lists(st.tuples(st.sampled_from([*EVENTS.types, "Unheard"]), PAYLOADS, SAID), min_size=1, max_size=3)
)
def test_orders_are_told_the_same_however_many_events_are_decoded_with_one(
    events: list[tuple[str, list[tuple[str, str]], str | None]],
) -> None:
    rows = [
        row(number, event_type, "{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}", said)
        for number, (event_type, pairs, said) in enumerate(events)
    ]
    together = same(EVENTS, rows)
    assert [said for each in rows for said in same(EVENTS, [each])] == together


def test_a_domain_without_types_knows_none() -> None:
    (found,) = same(Codec(()), [row(1, "Sent", '{"grams": 5}')])
    assert isinstance(found, UnknownEvent)


def test_garbage_is_looked_for_as_before_when_the_last_fold_has_ended() -> None:
    before = gc.get_threshold()
    with rarely_collected:
        during = gc.get_threshold()
        with rarely_collected:
            assert gc.get_threshold() == during
        assert gc.get_threshold() == during
    assert during[0] > before[0]
    assert gc.get_threshold() == before
    try:
        gc.set_threshold(0)
        with rarely_collected:
            assert gc.get_threshold()[0] == 0
        assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)
