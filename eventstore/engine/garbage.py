"""Look for cycles of garbage more rarely while objects without any are made by the million."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

#: So many more objects than were freed, before the youngest are looked through; Python's own is 700 to 2,000.
_RARELY = 50_000

_lock = Lock()
_before: tuple[int, int, int] | None = None
_inside = 0


@contextmanager
def rarely_collected() -> Iterator[None]:
    """For a fold of many events: a fifth of its time would go into the search. Also for threads side by side."""
    global _before, _inside
    with _lock:
        if not _inside:
            _before = gc.get_threshold()
            gc.set_threshold(max(_RARELY, _before[0]) if _before[0] else 0, *_before[1:])
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _before:
                gc.set_threshold(*_before)
