"""What the command line prints: JSON for machines, Rich for people."""

from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(highlight=False)
progress_console = Console(stderr=True)


def print_json(value: Any) -> None:
    """One object on one line; amounts as decimal strings, times in ISO 8601."""
    typer.echo(msgspec.json.encode(value).decode())


def complain(message: str) -> None:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)


def in_one_line(text: str) -> str:
    """A name that somebody else chose: no line breaks, and nothing that a terminal obeys."""
    return text if text.isprintable() else repr(text)


def print_fields(fields: dict[str, Any], title: str | None = None) -> None:
    """Name and value, a line each; what is empty is left out."""
    shown = {
        name.replace("_", " "): _readable(value)
        for name, value in fields.items()
        if value not in (None, (), [], {})
    }
    if not console.is_terminal:  # nothing is cut or folded in a pipe
        width = max(map(len, shown), default=0)
        for line in ([title] if title else []) + [f"{name:{width}}  {text}" for name, text in shown.items()]:
            typer.echo(line)
        return
    table = Table(
        box=None,
        show_header=False,
        title=Text(title) if title else None,
        title_justify="left",
        pad_edge=False,
    )
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
    if hasattr(value, "isoformat"):
        return str(value.isoformat(sep=" ", timespec="milliseconds"))
    return str(value)
