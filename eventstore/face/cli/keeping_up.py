"""refresh --follow: everything up to date a moment after an append, until Ctrl-C."""

import signal
import sys
import time
from contextlib import suppress
from threading import Event
from types import FrameType

import psycopg
import typer
from psycopg.errors import LockNotAvailable
from tenacity import Retrying, retry_if_exception_type, wait_exponential

from eventstore.engine.follow import Pass, follow
from eventstore.face.cli.app import open_store
from eventstore.face.cli.output import complain, console, print_json
from eventstore.kernel.counted import counted
from eventstore.log.errors import BusyError, DatabaseUnavailableError
from eventstore.orders.domain import DOMAIN

#: In a pipe and in a log file a line so often, where anything was folded.
_LINE_S = 60
#: What passes: somebody else was in the way, or the database was away.
_PASSES = (BusyError, DatabaseUnavailableError, LockNotAvailable, psycopg.OperationalError)


def keep_up(as_json: bool) -> None:
    """Follow until Ctrl-C or SIGTERM; through restarts of the database, too."""
    signal.signal(signal.SIGTERM, _interrupt)
    told = _Told(as_json)
    with suppress(KeyboardInterrupt), open_store() as store:
        for attempt in _attempts():
            with attempt, store.connection() as connection:
                follow(connection, DOMAIN, Event(), told, told.begins)
    told.ends()


def _attempts() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(_PASSES),
        wait=wait_exponential(multiplier=0.5, max=10),
        after=lambda state: complain(f"{state.outcome and state.outcome.exception()}; trying again"),
    )


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Told:
    """What is said of the passes: a line that changes in a terminal, one a minute elsewhere, or JSON."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._events = 0
        self._has_begun = False
        self._said_at = time.monotonic()

    def begins(self) -> None:
        if not self._as_json and not self._has_begun:
            self._has_begun = True
            typer.echo("following the log; Ctrl-C stops it, and nothing is lost")
            sys.stdout.flush()

    def __call__(self, done: Pass) -> None:
        self._events += done.events
        if self._as_json:
            print_json(done)
            sys.stdout.flush()
        elif console.is_terminal:
            typer.echo(f"\r{self._line(done)}\x1b[K", nl=False)
        elif time.monotonic() > self._said_at + _LINE_S:
            self._said_at = time.monotonic()
            typer.echo(self._line(done))
            sys.stdout.flush()

    def ends(self) -> None:
        if not self._as_json:
            if console.is_terminal:
                typer.echo()
            typer.echo(f"stopped; folded {counted(self._events, 'event')}, run it again to go on")

    def _line(self, done: Pass) -> str:
        return f"folded {counted(self._events, 'event')}, the last {done.events:,} in {done.seconds:.2f} s"
