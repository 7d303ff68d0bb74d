"""``make bench``, or ``python -m tests.benchmarks --only append --events 100000``."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.benchmarks.bench import Bench
from tests.benchmarks.measures import MEASURES
from tests.benchmarks.report import Report, now, print_report, print_row, write
from tests.benchmarks.rows import Row
from tests.benchmarks.server import circumstances, server

_FULL = 10_000_000
_FOLDER = Path(".eventstore-bench")

console = Console(highlight=False, soft_wrap=True)


def main(
    events: Annotated[
        int, typer.Option(min=1000, help="Events of the largest log; others have a tenth and a hundredth.")
    ] = _FULL,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each measure.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long a round of a throughput lasts.")] = 10,
    clients: Annotated[int, typer.Option(min=2, help="How many append at once.")] = 32,
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of: {', '.join(MEASURES)}; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help=f"Folder of the report; default: docs for a full run, else {_FOLDER}.")
    ] = None,
) -> None:
    """Measure, and write the report. Uses an embedded server of its own, or the one DATABASE_URL names."""
    names = [name for given in only or MEASURES for name in given.split(",")]
    if unknown := [name for name in names if name not in MEASURES]:
        raise typer.BadParameter(f"{', '.join(unknown)}; known: {', '.join(MEASURES)}", param_hint="--only")
    full = events >= _FULL and not only
    started = time.monotonic()
    rows: list[Row] = []
    with server(_FOLDER) as running:
        around = circumstances(running)
        if around["fsync"] != "on":
            console.print("[red]fsync is off: what is measured here is not what a user would see[/]")
        bench = Bench(
            running, events, rounds, seconds, clients, lambda text: console.print(f"[dim]{text} …[/]")
        )
        for name in names:
            console.print(f"[bold]{name}[/]  ({time.monotonic() - started:.0f} s)")
            for row in MEASURES[name](bench):
                rows.append(row)
                print_row(console, row)
    report = Report(
        finished_at=now(),
        minutes=(time.monotonic() - started) / 60,
        parameters={
            "EVENTS": f"{events:,}",
            "ROUNDS": rounds,
            "SECONDS": f"{seconds:g}",
            "measures": "all" if full or not only else ", ".join(names),
        },
        circumstances=around,
        rows=rows,
        growth=bench.growth,
    )
    print_report(Console(highlight=False), report)
    for path in write(report, output or (Path("docs") if full else _FOLDER)):
        console.print(str(path))


def run() -> None:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
