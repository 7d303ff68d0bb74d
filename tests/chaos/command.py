"""``make chaos``: the command line of the storm."""

import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.chaos.findings import say
from tests.chaos.plan import Plan
from tests.chaos.storm import storm

_EVENTS_PER_CRASH = 20_000


def main(
    events: Annotated[int | None, typer.Option(min=100, help="Until the log holds so many events.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long, where no number of events is given.")] = 60,
    seed: Annotated[
        int | None, typer.Option(help="To do again what was done before, as far as time lets.")
    ] = None,
    crashes: Annotated[int | None, typer.Option(min=0, help="Crash stops of the server.")] = None,
    writers: Annotated[int, typer.Option(min=1, help="How many append at once, beside two loads.")] = 4,
    unflushed: Annotated[bool, typer.Option(help="Clients that set synchronous_commit to off.")] = True,
    unflushed_last: Annotated[bool, typer.Option(help="… after their last append, before COMMIT.")] = False,
    failing: Annotated[float, typer.Option(help="Share of events that the rules fail on.")] = 0.0,
) -> None:
    """Let everything happen at once to a server of its own, then compare what is there with what must be."""
    many = events is not None and events >= 100_000
    plan = Plan(
        seed=secrets.randbelow(10**6) if seed is None else seed,
        events=events,
        seconds=seconds,
        crashes=_crashes(events, seconds) if crashes is None else crashes,
        writers=writers,
        file_lines=5_000 if many else 300,
        seconds_between_files=4 if many else 0.4,
        unflushed=unflushed,
        unflushed_last=unflushed_last,
        failing=failing,
        patience_s=900 if many else 60,
        questions=20_000,
    )
    folder = Path(tempfile.mkdtemp(prefix="eventstore-chaos-"))
    say(f"Seed {plan.seed}, in {folder}")
    if storm(plan, folder):
        say(f"The data, the journals and the server's log are kept in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def _crashes(events: int | None, seconds: float) -> int:
    return max(3, events // _EVENTS_PER_CRASH if events else round(seconds / 10))


def run() -> None:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
