"""What a long run says of itself: every ten seconds a line in its log."""

from collections.abc import Callable
from typing import Any

from eventstore.ingestion.files import printable
from eventstore.ingestion.load import Progress
from eventstore.kernel.pace import Pace


def told(context: Any, what: str, total: int | Callable[[], int] | None, unit: str = "event") -> Pace:
    """Called with the number since the last call; ``context`` is that of an asset or an op."""
    return Pace(what, total, context.log.info, unit=unit)


def told_of_files(context: Any) -> Callable[[Progress], None]:
    """The same for a load: of each file how much of it was read."""
    current: Pace | None = None
    path: object = None
    position = 0

    def report(now: Progress) -> None:
        nonlocal current, path, position
        if current is None or now.path != path:
            current = told(context, f"reading {printable(now.path.name)}", now.size, unit="byte")
            path, position = now.path, 0
        current(now.position - position)
        position = now.position

    return report
