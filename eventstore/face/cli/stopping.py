"""Ctrl-C: one line says what is kept, and that running the command again goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StoppedError(Exception):
    """Somebody pressed Ctrl-C; the message says what is kept."""


@contextmanager
def told_when_stopped(words: str | Callable[[], str]) -> Iterator[None]:
    """Raise StoppedError, with these ``words``, in place of what Ctrl-C raises here."""
    try:
        yield
    except BaseException as error:
        if not is_interrupt(error):
            raise
        raise StoppedError(words if isinstance(words, str) else words()) from None


def is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is the reason for an error: what it interrupts may fail in its own way."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
