"""Times as people type them."""

import re
from datetime import UTC, date, datetime

from eventstore.kernel.moments import moment
from eventstore.kernel.shown import shown

_BEGINS_LIKE_ISO = re.compile(r"\d{4}-?(\d|W)", re.ASCII)
_UTC_BEHIND_A_TIME = re.compile(r"(?<=\d)\s*(UTC|GMT|Z)$")
_SPACE_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d\d(:?\d\d)?$)")


class UnreadableTimeError(ValueError):
    """Text that is no time."""


def parse_time(text: str, now: datetime | None = None) -> datetime:
    """ISO 8601 with or without zone (without: UTC), a date (its first moment), or words like "2 days ago".

    Raises UnreadableTimeError, also for what can be read in two ways, such as 03/04/2026.
    """
    given = text.strip()
    parse = _parse_iso if _BEGINS_LIKE_ISO.match(given) else _parse_words
    try:
        parsed = parse(given, now or datetime.now(UTC))
        if parsed is not None:
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError:
        pass  # it lies outside of the years 1 to 9999
    raise UnreadableTimeError(
        f"{shown(text)} is not a time: give ISO 8601 (2026-03-03T12:00:00Z), a date (2026-03-03), "
        'or words such as "2 days ago"'
    )


def as_text(at: datetime) -> str:
    """A UTC time in ISO 8601, with milliseconds where it has any."""
    utc = at.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds").replace("+00:00", "Z")


def describe_time(at: datetime, text: str) -> str:
    """A time that `parse_time` read in ``text``, and what it assumed."""
    assumed = assumption(text)
    return moment(at) + (f" ({assumed})" if assumed else "")


def assumption(text: str) -> str | None:
    """What `parse_time` assumed about a text that it could read; None where the text says it all."""
    given = text.strip()
    if not _BEGINS_LIKE_ISO.match(given):
        return None
    try:
        date.fromisoformat(given.upper())
    except ValueError:
        parsed = _parse_iso(given)
        return "UTC, as no zone was given" if parsed is not None and parsed.tzinfo is None else None
    return "the start of the day in UTC"


def _parse_iso(text: str, _: datetime | None = None) -> datetime | None:
    normal = _UTC_BEHIND_A_TIME.sub("Z", _SPACE_BEFORE_OFFSET.sub("", text.upper()))
    try:
        return datetime.fromisoformat(normal)
    except ValueError:
        return None


def _parse_words(text: str, now: datetime) -> datetime | None:
    if not re.search("[a-z]", text, re.IGNORECASE):
        return None
    import dateparser  # noqa: PLC0415 - takes half a second, and most times are ISO 8601

    try:
        parsed: datetime | None = dateparser.parse(
            text,
            languages=["en"],
            settings={
                "TIMEZONE": "UTC",
                "TO_TIMEZONE": "UTC",
                "RETURN_AS_TIMEZONE_AWARE": True,
                "RELATIVE_BASE": now.astimezone(UTC).replace(tzinfo=None),
                "PARSERS": ["relative-time", "absolute-time"],
                "STRICT_PARSING": True,  # a date without its year is no date
            },
        )
    except Exception:  # the library trips over some texts, and none of those is a time
        return None
    return parsed
