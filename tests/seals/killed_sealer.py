"""Seal, and be killed before the given number of steps is done: ``python killed_sealer.py URL HOME``.

A process that was started once forks a child for each kill, since to start one takes longer than to seal.
Each line that it reads is a number: how many steps the child may take. It answers with "killed" or "done".
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psycopg

from eventstore.log.connection import open_connection
from eventstore.seals.outside import Outside
from eventstore.seals.sealing import seal


def main(url: str, home: Path) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                _seal(url, home, int(line))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "done", flush=True)


def _seal(url: str, home: Path, steps: int) -> None:
    """Every statement, every change of a file, is a step."""
    left = steps

    def dying(call: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*arguments, **options)

        return wrapper

    with open_connection(url) as connection:
        psycopg.Cursor.execute = dying(psycopg.Cursor.execute)  # type: ignore[method-assign]
        psycopg.Cursor.copy = dying(psycopg.Cursor.copy)  # type: ignore[method-assign]
        psycopg.Transaction.__exit__ = dying(psycopg.Transaction.__exit__)  # type: ignore[method-assign]
        for module, name in (
            (os, "link"),
            (os, "fsync"),
            (Path, "replace"),
            (Path, "mkdir"),
            (Path, "unlink"),
        ):
            setattr(module, name, dying(getattr(module, name)))
        seal(connection, Outside(home, {}), step=300)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
