"""The limits of the log that JSON from outside must keep to: how deep it is nested, how long its numbers are.

The database has the same for whatever is appended (schema/functions/limits.sql).
"""

import re
from decimal import Decimal, DecimalException

#: Of the payload, and of the metadata.
MAX_DEPTH = 100

#: Characters of a number, written without exponent.
MAX_NUMBER = 400

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[][{}]')
_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?')
# 200 digits in a row have digits at four places that are 50 apart: ten times cheaper to look for.
_FOUR_DIGITS, _EVERY = re.compile(rb"[0-9]{4}"), 50
_TINY_NUMBER = re.compile(rb"[0-9][eE]-[0-9]{3}")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # "\\u0000" is a backslash and five letters


def is_too_deep(json: bytes) -> bool:
    """Whether a value in ``json``, one or several behind each other, is nested deeper than MAX_DEPTH."""
    if json.count(b"[") + json.count(b"{") <= MAX_DEPTH:
        return False
    deepest = depth = 0
    for token in _STRING_OR_BRACKET.findall(json):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest > MAX_DEPTH


def long_number(json: bytes) -> str | None:
    """A number in ``json`` that is longer than MAX_NUMBER or out of the range of a double.

    None where there is none. Of a number with a large exponent its decoder will say so.
    """
    may_be_tiny = (b"e-" in json or b"E-" in json) and _TINY_NUMBER.search(json)
    if not (may_be_tiny or _FOUR_DIGITS.search(json[::_EVERY])):
        return None
    for token in _STRING_OR_NUMBER.findall(json):
        if not token.startswith(b'"') and _is_out_of_range(token.decode()):
            return str(token.decode())
    return None


def has_nul(json: bytes) -> bool:
    """Whether there is a NUL in a string in ``json``."""
    return b"\\" in json and b"\\u0000" in json and bool(_NUL.search(json))


def _is_out_of_range(number: str) -> bool:
    try:
        exact = Decimal(number)
        exponent = exact.as_tuple().exponent
        if float(number) in {float("inf"), float("-inf")} or not isinstance(exponent, int):
            return True
        before, after = max(exact.adjusted(), 0) + 1, max(-exponent, 0)
    except (DecimalException, ValueError, OverflowError):
        return True
    return before + after + (after > 0) + exact.is_signed() > MAX_NUMBER
