"""The entry point of the `eventstore` command: Ctrl-C is one line from the first moment on.

It lies beside the package: to import anything of that takes longer than a moment, in which somebody may press
Ctrl-C. Nothing has begun by then, so the process just ends.
"""

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Import the command line, and run it."""
    listens = (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )  # not where it is ignored, as by nohup
    if listens:
        signal.signal(signal.SIGINT, _end)
    from eventstore.face.cli import main as run  # noqa: PLC0415

    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _end(_signal: int, _frame: FrameType | None) -> None:
    """At once: an exception in the middle of an import would come out as something else."""
    os.write(2, b"stopped: nothing had begun\n")
    os._exit(_INTERRUPTED)
