"""How far a long command has come: a bar in a terminal, a line every ten seconds elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from eventstore.face.cli.output import note, progress_console
from eventstore.kernel.pace import Pace


class Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """See `rich.progress`."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


@contextmanager
def event_progress(
    what: str,
    total: int | Callable[[], int] | None,
    *,
    quiet: bool,
    transient: bool = False,
    unit: str = "event",
) -> Iterator[Callable[[int], None]]:
    """Gives what is called with the number of events since the last call. A ``transient`` bar is gone at the
    end; ``quiet``: nothing. Without a ``total`` the bar only shows that something goes on; one that costs
    something to know is given as a function, and asked for only where it is shown (see `Pace`).
    """
    if quiet:
        yield lambda events: None
        return
    if not progress_console.is_terminal:
        yield Pace(what, total, note, unit=unit)
        return
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        console=progress_console,
        transient=transient,
    ) as progress:
        task = progress.add_task(what, total=total() if callable(total) else total)
        yield lambda events: progress.advance(task, events)
