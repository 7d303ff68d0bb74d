"""What cannot be known just now is no bad news, for a while: then it is."""

import time
from collections.abc import Callable


class Doubts:
    """Since when the health of each run has been unknown, without a break."""

    def __init__(self, grace: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace, self._clock = grace, clock
        self._since: dict[str, float] = {}

    def are_too_old(self, run_id: str) -> bool:
        """Note that the health of a run is unknown now. True when it has been for longer than the grace."""
        now = self._clock()
        return now - self._since.setdefault(run_id, now) >= self._grace

    def settle(self, run_id: str) -> None:
        """It is known again, or matters no more."""
        self._since.pop(run_id, None)
