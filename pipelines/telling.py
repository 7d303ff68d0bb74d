"""What a long run says of itself: every ten seconds a line in its log."""

from collections.abc import Callable
from typing import Any

from eventstore.kernel.pace import Pace


def told(context: Any, what: str, total: int | Callable[[], int] | None, unit: str = "event") -> Pace:
    """Called with the number since the last call; ``context`` is that of an asset or an op."""
    return Pace(what, total, context.log.info, unit=unit)
