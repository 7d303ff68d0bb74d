"""How far something long has come, in a line: the share, the rate, the time that is left."""

import time
from collections.abc import Callable
from datetime import timedelta

from eventstore.kernel.counted import counted, lasting

EVERY_S = 10.0


class Pace:
    """Counts, and has something to say every ten seconds; nothing of what is over before."""

    def __init__(
        self,
        what: str,
        total: int | Callable[[], int] | None,
        say: Callable[[str], object],
        *,
        unit: str = "event",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``total`` is None where nobody knows it; a function, asked once if it comes to that, says how much
        is left. ``say`` is given each line.
        """
        self._what, self._total, self._say, self._unit, self._clock = what, total, say, unit, clock
        self._begun_at = self._said_at = clock()
        self._done = 0

    def __call__(self, more: int) -> None:
        """So many since the last call."""
        self._done += more
        now = self._clock()
        if now >= self._said_at + EVERY_S:
            self._said_at = now
            if callable(self._total):
                self._total = self._done + self._total()
            self._say(self._line(now - self._begun_at))

    def _line(self, seconds: float) -> str:
        rate = self._done / seconds
        line = f"{self._what}: {counted(self._done, self._unit)}"
        if isinstance(self._total, int) and self._done < self._total:
            left = timedelta(seconds=(self._total - self._done) / rate) if rate else None
            line += f" of {self._total:,} ({self._done / self._total:.0%})"
            return f"{line}, {rate:,.0f}/s" + (f", {lasting(left)} left" if left else "")
        return f"{line}, {rate:,.0f}/s"
