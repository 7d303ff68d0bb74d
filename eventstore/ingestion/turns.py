"""Threads of an interpreter take turns quickly: what the database answers does not wait for the parser."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

#: A thread that parses keeps the interpreter for 5 ms otherwise, at each answer of the database again.
_TURN_S = 0.0005

_lock = Lock()
_usual: list[float] = []  # the turn before, once for each that wants short ones


@contextmanager
def short_turns() -> Iterator[None]:
    """While any thread is in here, turns are short; the last one to leave restores what was before."""
    with _lock:
        _usual.append(_usual[0] if _usual else sys.getswitchinterval())
        sys.setswitchinterval(min(_TURN_S, _usual[0]))
    try:
        yield
    finally:
        with _lock:
            before = _usual.pop()
            if not _usual:
                sys.setswitchinterval(before)
