"""Values in messages: as JSON, so that 12.5 is not taken for "12.5"; short; nothing that a terminal obeys."""

import json
from typing import Any

import msgspec

_LONGEST = 60


def shown(value: Any, longest: int = _LONGEST) -> str:
    """``value`` as JSON on one line, cut with … where it is long, with escapes for what cannot be printed."""
    if isinstance(value, bytes | bytearray | msgspec.Raw):
        text = bytes(value)[: longest * 8].decode(errors="backslashreplace")
    elif isinstance(value, str):
        text = json.dumps(value[: longest * 8], ensure_ascii=False)
        text = text if len(value) <= longest * 8 else text[:-1]
    else:
        text = _as_json(value)
    text = printable(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(text: str) -> str:
    """``text`` on one line, with escapes in the way of JSON for what is no printable character."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON: a Decimal, a UUID, a set, half of the stack
        return _as_words(value)


def _as_words(value: Any) -> str:
    try:
        text = " ".join(str(value).split())
    except Exception:
        text = "…"
    return f"{type(value).__name__} {text}"
