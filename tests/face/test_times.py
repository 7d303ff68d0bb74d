"""Times as people type them: what is read, how, and what is refused."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventstore.face.times import UnreadableTimeError, as_text, assumption, parse_time

NOW = datetime(2026, 3, 5, 12, 30, tzinfo=UTC)
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
NO_ZONE, DAY = "UTC, as no zone was given", "the start of the day in UTC"


@pytest.mark.parametrize(
    ("text", "expected", "assumed"),
    [
        ("2026-03-03T12:00:00Z", NOON, None),
        ("2026-03-03t12:00:00z", NOON, None),
        ("2026-03-03T14:00:00+02:00", NOON, None),
        ("2026-03-03 14:00:00 +0200", NOON, None),
        ("20260303T120000Z", NOON, None),
        ("2026-03-03 12:00 UTC", NOON, None),
        ("2026-03-03T12:00:00.250Z", NOON + timedelta(milliseconds=250), None),
        ("2026-03-03T12:00", NOON, NO_ZONE),
        ("  2026-03-03 12:00:00 ", NOON, NO_ZONE),
        ("2026-03-03", NOON - timedelta(hours=12), DAY),
        ("20260303", NOON - timedelta(hours=12), DAY),
        ("2 days ago", NOW - timedelta(days=2), None),
        ("an hour ago", NOW - timedelta(hours=1), None),
        ("in 2 hours", NOW + timedelta(hours=2), None),
        ("yesterday", NOW - timedelta(days=1), None),
        ("now", NOW, None),
        ("3 March 2026 12:00", NOON, None),
        ("March 3, 2026 13:00 CET", NOON, None),
    ],
)
def test_a_time_is_read_in_utc_and_what_was_assumed_is_said(
    text: str, expected: datetime, assumed: str | None
) -> None:
    parsed = parse_time(text, now=NOW)
    assert (parsed, parsed.utcoffset()) == (expected, timedelta(0))
    assert assumption(text) == assumed


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "someday",
        "12",
        "2026",
        "2026-03",
        "may",
        "3 March",
        "03/04/2026",
        "2026-02-30",
        "2026-13-01T00:00Z",
        "2026-03-03T25:00",
        "2026-03-03T12:00:00+99:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:00:00-14:00",
        "99999999 days ago",
        "２０２６-03-03",
        "\x00",
        "2026-03-03; DROP TABLE orders",
    ],
)
def test_what_is_no_time_or_could_be_several_is_refused(text: str) -> None:
    with pytest.raises(UnreadableTimeError, match="is not a time: give ISO 8601"):
        parse_time(text, now=NOW)


@given(st.text(max_size=30))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        parse_time(text, now=NOW)
    except UnreadableTimeError:
        return
    assert assumption(text) in {None, NO_ZONE, DAY}


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_that_was_printed_is_read_back_to_the_millisecond(at: datetime) -> None:
    assert parse_time(as_text(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


def test_the_library_for_words_is_not_loaded_for_iso_times() -> None:
    program = (
        "import sys; from eventstore.face.times import parse_time; parse_time('2026-03-03'); "
        "print('dateparser' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
