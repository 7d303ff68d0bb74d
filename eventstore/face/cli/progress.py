"""The progress bar of what goes through events, many at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from eventstore.face.cli.output import progress_console


@contextmanager
def event_progress(
    what: str, total: int, *, quiet: bool, transient: bool = False
) -> Iterator[Callable[[int], None]]:
    """Gives what is called with the number of events since the last call. A ``transient`` bar is gone at the
    end; ``quiet``, or without a terminal, there is none.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=progress_console,
        disable=quiet or not progress_console.is_terminal,
        transient=transient,
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda events: progress.advance(task, events)
