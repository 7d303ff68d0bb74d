"""The limits of the log that a line of a file must keep to: how deep it is nested, how long its numbers are.

The database has the same for whatever is appended (schema/functions/limits.sql).
"""

import re
from decimal import Decimal, DecimalException

#: Of the payload, and of the metadata. The line around the payload is one level more.
MAX_DEPTH = 100

#: Characters of a number, written without exponent.
MAX_NUMBER = 400

_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[][{}]')
_STRING_OR_NUMBER = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?')
# 200 digits in a row have digits at four places that are 50 apart: ten times cheaper to look for.
_FOUR_DIGITS, _EVERY = re.compile(rb"[0-9]{4}"), 50
_TINY_NUMBER = re.compile(rb"[0-9][eE]-[0-9]{3}")


def is_too_deep(line: bytes) -> bool:
    """Whether the payload in ``line``, or another attribute, is nested deeper than MAX_DEPTH."""
    if line.count(b"[") + line.count(b"{") <= MAX_DEPTH + 1:
        return False
    deepest = depth = 0
    for token in _STRING_OR_BRACKET.findall(line):
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
    return deepest > MAX_DEPTH + 1


def long_number(line: bytes) -> str | None:
    """A number in ``line`` that is longer than MAX_NUMBER or out of the range of a double.

    None where there is none. Of a number with a large exponent its decoder will say so.
    """
    if not (_FOUR_DIGITS.search(line[::_EVERY]) or _TINY_NUMBER.search(line)):
        return None
    for token in _STRING_OR_NUMBER.findall(line):
        if not token.startswith(b'"') and _is_out_of_range(token.decode()):
            return str(token.decode())
    return None


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
