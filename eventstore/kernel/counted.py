"""Numbers with what they count, in words."""


def counted(number: int, one: str, several: str | None = None) -> str:
    """``1 order``, ``2 orders``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
