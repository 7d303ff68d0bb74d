"""How the history of an order looks: a table in a wide terminal, blocks in a narrow one, lines in a pipe.

In a pipe each event is one line, however long, columns are two spaces apart, and "-" stands for nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from eventstore.engine.event_history import Difference
from eventstore.face.cli.output import console, note
from eventstore.kernel.event_history import Change, HistoryEntry
from eventstore.kernel.moments import moment
from eventstore.kernel.recorded import RecordedEvent

_WIDE = 130


class _Mark(NamedTuple):
    text: str
    style: str


def print_timeline(entries: Sequence[HistoryEntry]) -> None:
    if not console.is_terminal:
        _print_lines(
            ("VERSION", "HAPPENED", "RECORDED", "TYPE", "MARKS", "BY", "CHANGES"), map(_line, entries)
        )
    elif console.width >= _WIDE:
        console.print(_table(entries))
    else:
        for entry in entries:
            _print_block(entry)


def print_difference(found: Difference, first: str, second: str) -> None:
    if not console.is_terminal:
        rows = [
            (field, _value(change.before), _value(change.after)) for field, change in found.changes.items()
        ]
        _print_lines(("FIELD", f"AT {first}", f"AT {second}"), rows)
        if not rows:
            note(f"nothing changed between {first} and {second}")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column(first, overflow="fold")
    table.add_column(second, overflow="fold")
    for field, change in found.changes.items():
        table.add_row(
            Text(field.replace("_", " "), style="bold"),
            Text(_value(change.before)),
            Text(_value(change.after)),
        )
    console.print(table if found.changes else f"nothing changed between {first} and {second}")
    for event in found.events:
        console.print(
            Text(f"#{event.version} {_plain(event.event_type)} {_time(event.happened_at)}", style="dim")
        )


def _print_lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _line(entry: HistoryEntry) -> tuple[str, ...]:
    event = entry.event
    return (
        str(event.version),
        event.happened_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        event.recorded_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        _plain(event.event_type),
        ", ".join(mark.text for mark in _marks(entry)) or "-",
        _by(event) or "-",
        "; ".join(_changes(entry, "->")) or "-",
    )


def _table(entries: Iterable[HistoryEntry]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("happened (UTC)", no_wrap=True)
    table.add_column("recorded (UTC)", no_wrap=True, style="dim")
    table.add_column("event", overflow="fold")
    table.add_column("changed", overflow="fold", ratio=1)
    table.add_column("by", overflow="fold", style="dim")
    for entry in entries:
        event = entry.event
        what = Text(_plain(event.event_type), style="bold")
        for mark in _marks(entry):
            what.append(f"\n{mark.text}", style=f"not bold {mark.style}")
        table.add_row(
            str(event.version),
            _time(event.happened_at).removesuffix(" UTC"),  # the heading says it
            _time(event.recorded_at).removesuffix(" UTC"),
            what,
            Text("\n".join(_changes(entry, "→"))),
            Text(_by(event)),
        )
    return table


def _print_block(entry: HistoryEntry) -> None:
    event = entry.event
    head = Text(f"#{event.version} ", style="dim")
    head.append(_plain(event.event_type), style="bold not dim")
    for mark in _marks(entry):
        head.append(f"  {mark.text}", style=f"not dim {mark.style}")
    console.print(head)
    console.print(Text(f"   happened {_time(event.happened_at)}"))
    console.print(Text(f"   recorded {_time(event.recorded_at)}", style="dim"))
    for change in _changes(entry, "→"):
        console.print(Text(f"   {change}"))
    if by := _by(event):
        console.print(Text(f"   by {by}", style="dim"))


def _marks(entry: HistoryEntry) -> list[_Mark]:
    marks = [_Mark(f"late by {_span(entry.late_by)}", "yellow")] if entry.late_by else []
    marks += [_Mark(name, "red") for name in entry.anomalies]
    marks += [_Mark(f"no longer {name}", "green") for name in entry.resolved]
    if "unknown_events" in entry.changes:
        marks.append(_Mark("unknown type", "red"))
    if entry.error:
        fails = "" if entry.error.startswith("not folded") else "the rules fail: "
        marks.append(_Mark(f"{fails}{_plain(entry.error)}", "bold red"))
    return marks


def _changes(entry: HistoryEntry, arrow: str) -> list[str]:
    """Each field that changed, from what to what; but for lifecycle times that are just the event's own."""
    return [
        f"{field} {_value(change.before)} {arrow} {_value(change.after)}"
        for field, change in sorted(entry.changes.items(), key=lambda item: item[0] != "status")
        if field != "unknown_events" and change != Change(None, entry.event.happened_at)
    ]


def _by(event: RecordedEvent) -> str:
    """Who sent the event: the actor in its metadata, the producer and the producer's name for it."""
    origin = " ".join(filter(None, (event.source, event.source_id)))
    actor = event.metadata.get("actor")
    return _plain(" via ".join(filter(None, (str(actor or ""), origin))))


def _time(at: datetime) -> str:
    return moment(at, exact=True)


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, datetime):
        return _time(value)
    if isinstance(value, tuple):
        return ", ".join(map(_plain, value)) or "none"
    return _plain(str(value))


def _plain(text: str) -> str:
    """One line, and nothing that a terminal would obey."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _span(duration: timedelta) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if duration.total_seconds() >= length:
            return f"{duration.total_seconds() / length:.0f} {unit}"
    return f"{duration / timedelta(milliseconds=1):.0f} ms"
