"""The leaf of an event by a second hand: its canonical text as docs/seals.md describes it."""

import json
from decimal import Decimal
from hashlib import sha256
from typing import Any

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text_of(value: Any) -> str:
    """As jsonb writes it: keys by length in bytes, then by bytes; numbers with all their digits."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return '"' + "".join(map(_character, value)) + '"'
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(text_of, value)) + "]"
    keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
    return "{" + ", ".join(f"{text_of(key)}: {text_of(value[key])}" for key in keys) + "}"


def leaf_text(row: tuple[Any, ...]) -> str:
    """Of a row: id, order_id, version, event_type, event_data, created_at, source, source_id, metadata."""
    id_, order_id, version, event_type, data, created_at, source, source_id, metadata = row
    values = [str(id_), str(order_id), version, event_type, _json(data), created_at, source, source_id]
    return text_of([*values, _json(metadata)])


def leaf_hash(row: tuple[Any, ...]) -> bytes:
    return sha256(b"\x00" + leaf_text(row).encode()).digest()


def _json(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\u{ord(character):04x}" if character < " " else character
