"""Times as people type them."""

from datetime import UTC, datetime

import dateparser


class UnreadableTimeError(ValueError):
    """Text that is no time."""


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """ISO 8601 with or without zone (without: UTC), a date (its midnight, UTC), or words like "2 days ago".

    Raises UnreadableTimeError.
    """
    try:
        parsed: datetime | None = datetime.fromisoformat(text.strip())
    except ValueError:
        parsed = dateparser.parse(
            text,
            languages=["en"],
            settings={
                "TIMEZONE": "UTC",
                "TO_TIMEZONE": "UTC",
                "RETURN_AS_TIMEZONE_AWARE": True,
                "RELATIVE_BASE": (now or datetime.now(UTC)).replace(tzinfo=None),
                "PARSERS": ["relative-time", "absolute-time"],
            },
        )
    if parsed is None:
        raise UnreadableTimeError(
            f"{text!r} is not a time: give ISO 8601 (2026-03-03T12:00:00Z), a date (2026-03-03), "
            'or words such as "2 days ago"'
        )
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def has_zone(text: str) -> bool:
    """Whether a time that was given in ISO 8601 names its zone; words are relative and need none."""
    try:
        return datetime.fromisoformat(text.strip()).tzinfo is not None
    except ValueError:
        return True
