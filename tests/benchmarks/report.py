"""The report: a table on the terminal, Markdown, JSON and a plot."""

from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tests.benchmarks.plot import plot
from tests.benchmarks.rows import Row

_BEGIN, _END = "<!-- results: written by make bench -->", "<!-- end of results -->"
_HEADINGS = ("measure", "ours", "yardstick", "its value", "ratio", "to reach", "")


class Report(msgspec.Struct, kw_only=True):
    finished_at: datetime
    minutes: float
    parameters: dict[str, Any]
    circumstances: dict[str, Any]
    rows: list[Row]
    growth: dict[str, dict[int, float]]


def print_row(console: Console, row: Row) -> None:
    cells = _cells(row)
    colour = {True: "green", False: "red", None: "default"}[row.met]
    console.print(f"  [{colour}]{' | '.join(cell for cell in cells if cell)}[/]")


def print_report(console: Console, report: Report) -> None:
    table = Table("measure\n[dim]against[/]", "ours", "its value", "ratio", "to reach", show_lines=True)
    for row in report.rows:
        measure, ours, yardstick, theirs, ratio, target, _ = _cells(row)
        colour = {True: "green", False: "red", None: "default"}[row.met]
        against = f"\n[dim]{yardstick}[/]" if yardstick else ""
        table.add_row(measure + against, ours, theirs, f"[{colour}]{ratio}[/]", f"[{colour}]{target}[/]")
    console.print(table)
    missed = [row.measure for row in report.rows if row.met is False]
    console.print(f"Not reached: {'; '.join(missed)}" if missed else "Every target was reached.")


def write(report: Report, folder: Path) -> list[Path]:
    """Write benchmarks.md, .json and .svg. Of an existing Markdown file only the results are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data, picture = (folder / f"benchmarks.{ending}" for ending in ("md", "json", "svg"))
    data.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    before, after = "# Benchmarks\n\n", "\n"
    if markdown.exists() and _BEGIN in (text := markdown.read_text(encoding="utf-8")):
        before, after = text.partition(_BEGIN)[0], text.partition(_END)[2]
    has_plot = plot(report.growth, picture)
    markdown.write_text(
        before + _BEGIN + "\n" + _markdown(report, picture if has_plot else None) + _END + after,
        encoding="utf-8",
    )
    return [markdown, data, *([picture] if has_plot else [])]


def _markdown(report: Report, picture: Path | None) -> str:
    lines = [
        f"Finished {report.finished_at:%Y-%m-%d %H:%M} UTC after {report.minutes:.0f} minutes. "
        + ", ".join(f"{name} {value}" for name, value in report.parameters.items())
        + ". Each value is the median over the rounds, the lowest and highest "
        "in parentheses; a ratio is taken within each round.",
        "",
        f"| {' | '.join(_HEADINGS)} |",
        "|" + "---|" * len(_HEADINGS),
        *(f"| {' | '.join(_cells(row))} |" for row in report.rows),
        "",
        *(
            f"- {row.measure}{f' against {row.yardstick}' if row.yardstick else ''}: {row.note}."
            for row in report.rows
            if row.note
        ),
        "",
    ]
    missed = [f"{row.measure} ({row.yardstick})" for row in report.rows if row.met is False]
    lines += [f"**Not reached:** {'; '.join(missed)}." if missed else "Every target was reached.", ""]
    if picture:
        lines += [f"![How each cost grows with the log]({picture.name})", ""]
    if report.growth:
        sizes = sorted({size for values in report.growth.values() for size in values})
        lines += [
            f"| cost | {' | '.join(f'{size:,} events' for size in sizes)} |",
            "|---|" + "---:|" * len(sizes),
            *(
                f"| {cost} | {' | '.join(_number(of[size]) if size in of else '' for size in sizes)} |"
                for cost, of in report.growth.items()
            ),
            "",
        ]
    lines += ["| machine and settings | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in report.circumstances.items()]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "reached", False: "**missed**", None: ""}[row.met]
    target = f"{row.target[0]} {row.target[1]:g}{'' if row.theirs else ' ' + row.unit}" if row.target else ""
    return (
        row.measure,
        f"{_spread(row.ours)} {row.unit}",
        row.yardstick,
        f"{_spread(row.theirs)} {row.unit}" if row.theirs else "",
        _spread(row.ratios),
        target,
        verdict,
    )


def _spread(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(map(_number, values))
    return f"{_number(median(values))} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def now() -> datetime:
    return datetime.now(UTC)
