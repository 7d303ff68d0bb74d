"""How verdicts look: a line each in a pipe, a table in a terminal, the worst first."""

from collections.abc import Sequence

import typer
from rich.table import Table
from rich.text import Text

from eventstore.face.cli.output import console, in_one_line
from eventstore.kernel.counted import counted
from eventstore.kernel.verdicts import LEVELS, Level, Verdict, entry, worst

_STYLES: dict[Level, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    ordered = sorted(verdicts, key=lambda verdict: -LEVELS.index(verdict.level))
    if not console.is_terminal:
        for verdict in ordered:
            fields = (verdict.level, verdict.code, verdict.subject, verdict.sentence, verdict.next or "-")
            typer.echo("\t".join(map(in_one_line, fields)))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(max_width=20, overflow="fold")
    table.add_column(overflow="fold")
    for verdict in ordered:
        said = Text(in_one_line(verdict.sentence))
        if verdict.next:
            said.append("\n→ ", style="bold").append(in_one_line(verdict.next), style="bold")
        if verdict.level != "ok":
            said.append(f"\n{entry(verdict.code)}", style="dim")
        level = Text(verdict.level, style=_STYLES[verdict.level])
        table.add_row(level, Text(in_one_line(verdict.subject)), said)
    console.print(Text(_headline(verdicts), style=_STYLES[worst(verdicts)]))
    console.print(table)


def _headline(verdicts: Sequence[Verdict]) -> str:
    number = {level: sum(verdict.level == level for verdict in verdicts) for level in LEVELS}
    if not number["fail"] and not number["warn"]:
        return "All is well."
    parts = [f"{number['fail']:,} failed"] if number["fail"] else []
    parts += [counted(number["warn"], "warning")] if number["warn"] else []
    return f"{', '.join(parts)}:"
