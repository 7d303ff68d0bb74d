"""One message of all that is to be told: as text for people, as fields for programs."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from eventstore.alerts.problems import Item
from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.kernel.shown import printable

#: So many are named in the text, and so many stand in the fields.
_NAMED, _FIELDS = 20, 200
_LONGEST = 400
_WORDS = {"begins": "FAILED", "worse": "WORSE", "lasts": "STILL FAILED", "over": "OVER"}
_WARNING_WORDS = {"begins": "WARNING", "worse": "WORSE", "lasts": "STILL WARNING", "over": "OVER"}
_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s]*@")


def subject(items: Sequence[Item]) -> str:
    """``eventstore: 2 problems, 1 over: refresh_orders, …``"""
    over = sum(item.what == "over" for item in items)
    bad = len(items) - over
    counts = [counted(bad, "problem")] if bad else []
    counts += [f"{over} over"] if over else []
    names = ", ".join(item.problem.title for item in items[:3]) + (", …" if len(items) > 3 else "")
    return clean(f"eventstore: {', '.join(counts)}: {names}", 150)


def text(items: Sequence[Item]) -> str:
    """A line for each, what is bad first; the longest messages stay readable."""
    lines = [subject(items)]
    ordered = sorted(items, key=lambda item: (item.what == "over", item.problem.severity != "error"))
    lines += [_line(item) for item in ordered[:_NAMED]]
    if len(items) > _NAMED:
        lines.append(f"… and {len(items) - _NAMED} more.")
    return "\n".join(lines)


def payload(items: Sequence[Item]) -> dict[str, Any]:
    """What goes to a webhook. ``text`` is what Slack and those like it show; their control signs are escaped,
    so that no text of an error calls everybody to the channel.
    """
    escaped = text(items).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        "text": escaped,
        "alerts": [
            {
                "event": item.what,
                "key": item.problem.key,
                "kind": item.problem.kind,
                "severity": item.problem.severity,
                "title": clean(item.problem.title, _LONGEST),
                "text": clean(item.problem.text, _LONGEST),
                "link": item.problem.link,
                "runbook": item.problem.runbook,
                "since": _time(item.since),
                "at": _time(item.at),
            }
            for item in items[:_FIELDS]
        ],
        "total": len(items),
    }


def clean(words: str, longest: int = _LONGEST) -> str:
    """On one line, without a password that stands in a URL, cut where it is long."""
    words = printable(" ".join(_PASSWORD.sub(r"\1:…@", words).split()))
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _line(item: Item) -> str:
    problem = item.problem
    word = (_WORDS if problem.severity == "error" else _WARNING_WORDS)[item.what]
    since = f"since {moment(datetime.fromtimestamp(item.since, UTC))}"
    if item.what == "over":
        return f"{word}: {clean(problem.title)}, {since}"
    where = "".join(f" {each}" for each in (problem.link, problem.runbook) if each)
    return f"{word}: {clean(problem.title)}: {clean(problem.text)} ({since}){where}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
