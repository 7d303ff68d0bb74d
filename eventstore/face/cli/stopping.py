"""Ctrl-C: one line says what is kept, and that running the command again goes on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

_READ = "nothing was changed; run it again: it begins anew"
_AS_A_WHOLE = "it was done as a whole, or not at all: {}"

#: What stands where a command is stopped, and how to go on. A command that knows it better says so itself.
STANDS = {
    "init": "what was done is kept; run it again: it goes on",
    "doctor": _READ,
    "settings": _AS_A_WHOLE.format("`eventstore settings` shows the values"),
    "url": "nothing was changed; a PostgreSQL that was started runs on",
    "down": "the server may still be on its way down; run it again",
    "append": _AS_A_WHOLE.format(
        "`eventstore show ORDER_ID` tells; with a source and source_id nothing goes in twice"
    ),
    "ingest": "what was appended is kept; run it again: it goes on, and nothing goes in twice",
    "rejects": _READ,
    "rejects show": _READ,
    "rejects retry": "what was appended is kept; run it again: it goes on, and nothing goes in twice",
    "rejects discard": _AS_A_WHOLE.format("`eventstore rejects` shows what waits"),
    "orders": _READ,
    "show": _READ,
    "history": _READ,
    "tail": "a consumer goes on where it was, and may be given the last events again; others by --after",
    "consumers": _READ,
    "consumers reset": _AS_A_WHOLE.format("`eventstore consumers` shows the watermark"),
    "consumers accept": _AS_A_WHOLE.format("`eventstore consumers` shows the watermark"),
    "consumers delete": _AS_A_WHOLE.format("`eventstore consumers` shows who is left"),
    "refresh": "what was folded is kept, whole chunks of it; run it again to go on",
    "snapshots build": "the snapshots of these days are as they were; run it again: it begins anew",
    "status": _READ,
    "quarantine": _READ,
    "alerts": "no setting was changed; a message of a test may be under way",
    "replay": "what stands is kept, each table is whole; `eventstore replay --continue` goes on, where no "
    "rule has changed since",
    "promote": "what was promoted stays, each table is whole; `eventstore promote` goes on",
    "promotion": _AS_A_WHOLE.format("`eventstore promotion` shows the policy"),
    "rollback": "each table is whole, by the rules before or after; run it again: it begins anew",
    "check": "nothing is told, and nothing was written; run it again: it begins anew",
    "prove": "what was proven is kept, share by share; `eventstore prove` goes on",
    "seal": "what was sealed is kept, checkpoint by checkpoint; `eventstore seal` goes on",
    "verify": "nothing is told, and nothing was written; run it again: it begins anew",
    "prove-consistency": _READ,
    "verify-proof": _READ,
    "seal-key": "the key was changed, and the next seal finishes that, or it was not: `eventstore seal-key` "
    "shows which signs",
    "backup": "no backup was taken, those before it are kept; run it again: it begins anew",
    "restore": "what is unfinished serves nobody; run it again: it begins anew, and refuses a database that "
    "holds something",
    "rebuild": "what stands is kept, the old tables serve; `eventstore rebuild` goes on",
    "epochs": _READ,
    "epochs begin": _AS_A_WHOLE.format("`eventstore epochs` shows it"),
    "epochs declare": _AS_A_WHOLE.format("`eventstore epochs` shows it"),
    "horizon": "replicas keep what they were told; run it again to go on",
}


class StoppedError(Exception):
    """Somebody pressed Ctrl-C; the message says what is kept."""


@contextmanager
def told_when_stopped(words: str | Callable[[], str]) -> Iterator[None]:
    """Raise StoppedError, with these ``words``, in place of what Ctrl-C raises here."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, StoppedError) or not is_interrupt(error):
            raise
        raise StoppedError(words if isinstance(words, str) else words()) from None


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is the reason for an error: what it interrupts may fail in its own way.

    Reasons may lead in a circle, as where an error is raised again while one that it caused is handled.
    """
    left, seen = [error], set[int]()
    while left:
        each = left.pop()
        if isinstance(each, KeyboardInterrupt):
            return True
        seen.add(id(each))
        left += [why for why in (each.__cause__, each.__context__) if why and id(why) not in seen]
    return False


def telling_what_stands(command: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same command, which says so where it is stopped."""

    @wraps(command)
    def told(*args: Any, **options: Any) -> Any:
        with told_when_stopped(lambda: f"stopped: {STANDS[name]}"):
            return command(*args, **options)

    return told
