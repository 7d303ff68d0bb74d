"""Look for cycles of garbage more rarely while objects without any are made by the million."""

import gc
from threading import Lock
from types import TracebackType

#: So many more objects than were freed, before the youngest are looked through; Python's own is 700 to 2,000.
_RARELY = 50_000


class _RarelyCollected:
    """For a fold of many events, a fifth of whose time would go into the search. Threads may overlap."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._before = gc.get_threshold()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = gc.get_threshold()
                if self._before[0]:  # else somebody has switched it off
                    gc.set_threshold(max(_RARELY, self._before[0]), *self._before[1:])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                gc.set_threshold(*self._before)


rarely_collected = _RarelyCollected()
