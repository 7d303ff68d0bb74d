"""Moments in what people read: always UTC, always the same. Machines are given ISO 8601 (`times.as_text`)."""

from datetime import UTC, datetime


def moment(at: datetime, *, exact: bool = False) -> str:
    """``2026-03-03 12:00:00 UTC``, ``exact`` with milliseconds; as `parse_time` reads it, too."""
    utc = at.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(sep=' ', timespec='milliseconds' if exact else 'seconds')} UTC"
