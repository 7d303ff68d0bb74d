"""What the command line prints: JSON for machines, Rich for people."""

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
import typer
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from eventstore.engine.status import ConsumerStatus, ProjectionStatus
from eventstore.kernel.addresses import without_logins
from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.kernel.room import with_room
from eventstore.kernel.shown import printable

_ANY_WIDTH = 100_000


class _Console(Console):
    """In a pipe nothing is cut or folded, whatever FORCE_COLOR and COLUMNS say: a program reads it."""

    @property
    def is_terminal(self) -> bool:
        return self.file.isatty()

    @property
    def width(self) -> int:
        return super().width if self.is_terminal else _ANY_WIDTH

    @width.setter
    def width(self, width: int) -> None:
        self._width = width

    @property
    def options(self) -> ConsoleOptions:
        found = super().options
        return found if self.is_terminal else found.update(width=_ANY_WIDTH)


console: Console = _Console(highlight=False)
progress_console: Console = _Console(stderr=True)

#: What JSON does not escape, and a terminal or an editor obeys: DEL, C1, line ends, marks that turn the text.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def print_json(value: Any) -> None:
    """One object on one line; amounts as decimal strings, times in ISO 8601."""
    text = with_room(msgspec.json.encode, value).decode()
    if not text.isascii() or "\x7f" in text:
        text = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":  # what is left is the same everywhere
        text = re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    typer.echo(text)


def complain(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    with suppress(OSError):  # nobody listens
        typer.secho(f"error: {_line(message)}", err=True, fg=typer.colors.RED)


def warn(message: str) -> None:
    """One line on standard error: what a person should know although the command did what it was to do."""
    with suppress(OSError):
        typer.secho(f"warning: {_line(message)}", err=True, fg=typer.colors.YELLOW)


def note(message: str) -> None:
    """Something beside the answer, a line on standard error."""
    with suppress(OSError):
        typer.secho(printable(without_logins(message)), err=True, dim=True)


def _line(message: str) -> str:
    return printable(without_logins(" ".join(message.split())))


def any_character() -> None:
    """What the encoding of the terminal does not have is shown as an escape; to stop there helps nobody."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_output() -> bool:
    """Whether all output has arrived; says what was wrong, unless a reader such as `head` had enough."""
    try:
        sys.stdout.flush()
    except OSError as error:
        give_up_output(error)
        return False
    return True


def give_up_output(error: OSError) -> None:
    """Say, once, why standard output takes no more, unless a reader such as `head` had enough."""
    if not isinstance(error, BrokenPipeError):
        complain(f"cannot use standard output: {error.strerror or error}")
    with suppress(OSError, ValueError):  # what is left in the buffer would fail once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def in_one_line(text: str) -> str:
    """A name that somebody else chose: no line breaks, and nothing that a terminal obeys."""
    return text if text.isprintable() else repr(text)


def lag(of: ProjectionStatus | ConsumerStatus) -> str:
    """How far a follower of the log is behind it."""
    return f"{counted(of.lag_events, 'event', or_more=of.lag_or_more)}, {of.lag_seconds:.1f} s"


def print_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table in a terminal; in a pipe, where nothing is cut or folded, lines with tabs."""
    if not console.is_terminal:
        for row in (headings, *rows):
            typer.echo("\t".join(row))
        return
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def print_fields(fields: dict[str, Any], title: str | None = None) -> None:
    """Name and value, a line each; what is empty is left out."""
    shown = {
        name.replace("_", " "): printable(_readable(value))
        for name, value in fields.items()
        if value not in (None, (), [], {})
    }
    if not console.is_terminal:  # nothing is cut or folded in a pipe
        width = max(map(len, shown), default=0)
        for line in ([title] if title else []) + [f"{name:{width}}  {text}" for name, text in shown.items()]:
            typer.echo(line)
        return
    if title:
        console.print(Text(title, style="italic"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in shown.items():
        table.add_row(name, Text(text))
    console.print(table)


def _readable(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return moment(value, exact=True)
    return str(value)
