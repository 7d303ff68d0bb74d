"""Amounts of money: exact decimals that fit DECIMAL(10,2), never floats, never rounded."""

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from eventstore.kernel.shown import shown

_CENT = Decimal("0.01")
_NAN = Decimal("NaN")
_DECIMAL_10_2 = Context(prec=10, traps=[Inexact, InvalidOperation])
_TOO_MUCH = 10**8
#: The one form of an amount that the log takes, in at most 20 characters.
_AMOUNT = re.compile(r"(?!.{21})-?[0-9]{1,8}(\.[0-9]{1,2}0*)?")


def exact_amount(value: Decimal | int | str) -> Decimal:
    """``value`` with two decimal places.

    Raises ValueError where it does not fit DECIMAL(10,2) exactly, TypeError for floats and other types.
    """
    if type(value) is Decimal and value.same_quantum(_CENT) and -_TOO_MUCH < value < _TOO_MUCH:
        return value
    if type(value) not in {Decimal, int, str}:
        raise TypeError(
            f'amount must be a decimal string such as "12.50", found {type(value).__name__} {shown(value)}'
        )
    try:
        amount = Decimal(value).quantize(_CENT, context=_DECIMAL_10_2)
    except (InvalidOperation, Inexact):
        amount = _NAN
    if not amount.is_finite():
        raise ValueError(f"amount {shown(value)} does not fit DECIMAL(10,2) exactly")
    return amount


def is_currency(code: object) -> bool:
    """Whether ``code`` looks like ISO 4217. A pattern would double the cost of reading events."""
    return type(code) is str and len(code) == 3 and code.isalpha() and code.isupper() and code.isascii()


def check_amount(payload: dict[str, Any], version: int) -> None:
    """Raise ValueError for an amount that event_is_valid() of the log refuses, whatever the event type."""
    if "amount" not in payload:
        return
    amount = payload["amount"]
    if version == 1:
        if not isinstance(amount, int) or isinstance(amount, bool) or abs(amount) >= 10**10:
            raise ValueError(
                f"amount of version 1 must be whole cents such as 1250, found {shown(amount)} - at `$.amount`"
            )
    elif not isinstance(amount, str) or not _AMOUNT.fullmatch(amount):
        raise ValueError(
            f'amount must be a string such as "12.50" that fits DECIMAL(10,2) exactly, found '
            f"{shown(amount)} - at `$.amount`"
        )
