"""Amounts of money: exact decimals that fit DECIMAL(10,2), never floats, never rounded."""

from decimal import Context, Decimal, Inexact, InvalidOperation

from eventstore.domain.shown import shown

_CENT = Decimal("0.01")
_NAN = Decimal("NaN")
_DECIMAL_10_2 = Context(prec=10, traps=[Inexact, InvalidOperation])
_TOO_MUCH = 10**8


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
