"""Whatever somebody might send: any JSON, any text, and what is known to hurt."""

import json
import re
from typing import Any

from hypothesis import strategies as st

from tests.robustness.naive import CURRENCY, Given

TYPES = (
    "OrderCreated",
    "OrderPaid",
    "OrderShipped",
    "OrderDelivered",
    "OrderCancelled",
    "OrderRefunded",
    "OrderAmountCorrected",
)

#: Names that a parser, a column, an array of PostgreSQL, COPY or a terminal may take for something else.
HURTFUL = (
    "",
    " ",
    "OrderPaid vX",
    "OrderPaid v",
    "OrderPaid v1",
    "OrderPaid v2",
    "OrderPaid v99999999999999999999",
    "OrderPaid v٣",
    "OrderPaid v1_0",
    "OrderPaid v-1",
    " v1",
    "orderpaid",
    "orders",
    "fold_version",
    "unknown_events",
    "__class__",
    "NULL",
    "{}",
    '{"a',
    "a,b",
    "\\",
    "\\.",
    "\\N",
    '"',
    "'; DROP TABLE orders; --",
    "%s%(x)s{}",
    "[red]x[/]",
    "[/]",
    "\0",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b2J",
    "\n",
    "\r\n",
    "a\tb",
    "\u2028",
    "\u202ereversed\u2066",
    "\u200b",
    "\ufeff",
    "\ufffe",
    "e\u0301",
    "\ud800",
    "\udfff\ud800",
    "💥" * 200,
    "x" * 200,
    "x" * 201,
    "y" * 2001,
)
_AMOUNTS = (
    "1.00",
    "-1.00",
    "0",
    "99999999.99",
    "-99999999.99",
    "100000000",
    "1.001",
    "1e3",
    "NaN",
    "Infinity",
    "١",
    "1.0000",
    "1." + "0" * 18,
    "1." + "0" * 19,
    " 1",
    "1\n",
    "+1",
    "0x10",
    "1_0",
    ".5",
    "1.",
    "-0.00",
)
_CURRENCIES = ("EUR", "XXX", "eur", "", "ÄÖÜ", "EURO", "E\0R")
_TIMES = (
    "2026-03-03T12:00:00Z",
    "2026-03-03",
    "0001-01-01",
    "9999-12-31T23:59:59.999999Z",
    "10000-01-01",
    "now",
    "infinity",
    "-infinity",
    "0001-01-01T00:00:00+14:00",
    "2026-02-30",
    "2026-03-03T25:00:00Z",
    "0000-01-01",
    "2026-03-03 12:00:00 America/New_York",
    "2026-03-03T12:00:00 BC",
    "294277-01-01",
    "9999-12-31T23:59:59-14:00",
)
_NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    10**9,
    10**15,
    -(10**15),
    10**30,
    253402300799999,
    253402300800000,
    -62135596800000,
)


def _storable(text: str) -> bool:
    return 0 < len(text) <= 200 and not re.search("[\0\ud800-\udfff]", text)


def _json(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(_NUMBERS)
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    )


clean_texts = st.sampled_from(list(filter(_storable, HURTFUL))) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
)
_clean_json = _json(clean_texts)
clean_objects = st.dictionaries(clean_texts, _clean_json, max_size=3)
texts = clean_texts | st.sampled_from(HURTFUL) | st.text(st.characters(codec=None), max_size=12)
json_values = _json(texts)


def _mostly(good: Any, anything: Any = json_values) -> st.SearchStrategy[Any]:
    """So that not every event is refused for its first bad value."""
    return st.one_of(good, good, good, good, anything)


def _payloads(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "amount": st.sampled_from(_AMOUNTS) | values,
            "currency": st.sampled_from(_CURRENCIES) | values,
            "customer_id": st.uuids().map(str) | values,
            "reason": values,
            "estimated_delivery": st.sampled_from(_TIMES) | values,
        },
    )


clean_payloads = st.builds(
    lambda payload, amount: payload | amount,
    _payloads(_clean_json),
    st.sampled_from([{"amount": amount} for amount in ("1.00", "-1.50", "99999999.99")]),
)
_marked = st.sampled_from([{"schema_version": version} for version in (1, 2, "1", "2", 3, 999_999_999)])
_likely = st.builds(
    lambda event, identity: event | identity,
    st.fixed_dictionaries(
        {"type": st.sampled_from(TYPES) | clean_texts, "data": clean_payloads | clean_objects},
        optional={
            "created_at": st.sampled_from(_TIMES[:4]) | st.integers(-(10**13), 10**14),
            "metadata": clean_objects | _marked,
        },
    ),
    st.fixed_dictionaries({"source": clean_texts, "source_id": clean_texts}) | st.just({}),
)
payloads = _payloads(json_values)
types = st.sampled_from(TYPES) | texts
metadata = st.dictionaries(texts, json_values, max_size=3) | st.fixed_dictionaries(
    {"schema_version": json_values}
)
_unlikely = st.fixed_dictionaries(
    {"type": _mostly(types), "data": _mostly(payloads | clean_objects)},
    optional={
        "created_at": _mostly(st.sampled_from(_TIMES) | st.sampled_from(_NUMBERS)),
        "source": _mostly(texts),
        "source_id": _mostly(texts),
        "metadata": _mostly(metadata),
        "else": json_values,
    },
)

#: An event for append_events(), or what somebody takes for one.
events = st.one_of(_likely, _likely, _likely, _unlikely, json_values)

_full_payloads = st.builds(
    lambda payload, currency, customer: payload | {"currency": currency, "customer_id": str(customer)},
    clean_payloads,
    st.sampled_from(["EUR", "USD"]),
    st.uuids(),
)
_likely_envelopes = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": clean_texts,
        "source": clean_texts,
        "type": st.sampled_from(TYPES),
        "subject": st.uuids().map(str),
        "data": _full_payloads,
    },
    optional={
        "time": st.sampled_from(_TIMES[:1]),
        "schemaversion": st.sampled_from([2, "2"]),
        "x": _clean_json,
    },
)
_envelopes = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": _mostly(clean_texts),
        "source": _mostly(clean_texts),
        "type": _mostly(st.sampled_from(TYPES), types | json_values),
        "subject": _mostly(st.uuids().map(str)),
        "data": _mostly(clean_payloads, payloads | json_values),
    },
    optional={
        "time": _mostly(st.sampled_from(_TIMES)),
        "schemaversion": st.sampled_from(_NUMBERS) | json_values,
        "datacontenttype": st.just("application/json") | json_values,
        "x\x1b[2J": json_values,
    },
)


def _damaged(line: bytes, at: int, byte: int) -> bytes:
    at %= len(line) + 1
    return line[:at] + bytes((byte,)) + line[at + 1 :]


_lines = (_likely_envelopes | _envelopes | json_values).map(lambda value: json.dumps(value).encode())

#: A line of a file, or what somebody takes for one.
lines = st.one_of(
    _likely_envelopes.map(lambda value: json.dumps(value).encode()),
    _lines,
    (_likely_envelopes | _envelopes).map(
        lambda e: json.dumps(e, ensure_ascii=False).encode(errors="surrogatepass")
    ),
    st.builds(_damaged, _lines, st.integers(0, 10_000), st.integers(0, 255)),
    st.binary(max_size=30),
)

_good_events = st.builds(
    Given,
    type=st.sampled_from(TYPES),
    at=st.integers(0, 40 * 86_400_000),
    amount=st.decimals("0.01", "999999.99", places=2).map(str),
    customer=st.uuids(),
    currency=st.just(CURRENCY),
)
good_orders = st.lists(st.lists(_good_events, min_size=1, max_size=6), min_size=3, max_size=6)
