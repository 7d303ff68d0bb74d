"""Numbers with what they count, in words."""

from datetime import timedelta


def counted(number: int, one: str, several: str | None = None, *, or_more: bool = False) -> str:
    """``1 order``, ``2 orders``, ``1,000 or more orders``: with a verb, if so wanted, that agrees."""
    words = one if number == 1 and not or_more else several or one + "s"
    return f"{number:,} or more {words}" if or_more else f"{number:,} {words}"


def lasting(duration: timedelta) -> str:
    """``90 s``, ``5 min``, ``3 h``, ``2 d``: so much that one digit of the next unit says enough."""
    seconds = max(duration.total_seconds(), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"
