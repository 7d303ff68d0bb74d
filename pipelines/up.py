"""``make up``: Dagster's web pages with the schedules and the landing sensor on, until Ctrl-C."""

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import psutil
import psycopg
import typer
from rich.console import Console

from eventstore.log.errors import EventStoreError
from eventstore.server import settings
from eventstore.server.errors import ServerError
from eventstore.server.urls import without_password
from pipelines import only_one
from pipelines.companions import Companions
from pipelines.dagster_services import HOST, Dagster
from pipelines.database_watch import DatabaseWatch
from pipelines.instance import fail_orphaned_runs, prepare
from pipelines.log_file import LogFile
from pipelines.supervision import end_processes, marked

_POLL_S = 0.2

console = Console(highlight=False, soft_wrap=True)


def main(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the web pages; else PORT, or that of eventstore.toml."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Also follow the log: appends are in every table a moment later.")
    ] = False,
    backups: Annotated[
        str,
        typer.Option(metavar="FOLDER", help="Keep backups there: best on another disk."),
    ] = "",
) -> None:
    """Run Dagster: web pages, daemon, schedules and the landing sensor. Ctrl-C stops it all."""
    home = settings.home()
    if backups:
        os.environ["EVENTSTORE_BACKUPS"] = str(Path(backups).expanduser().absolute())
    try:
        port = port or settings.port()
        only_one.refuse_a_second(home)
        if _in_use(port) and not _left_behind():
            _refuse_port(port)
        with only_one.hold(home, f"http://{HOST}:{port}"):
            _on_signals(_interrupt)
            _run(port, follow=follow)
    except only_one.AlreadyRunningError as error:
        _complain(str(error))
        raise typer.Exit(2) from None
    except (ServerError, EventStoreError, psycopg.Error) as error:
        _complain(" ".join(str(error).split()))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _say("Stopped.")


def _run(port: int, *, follow: bool) -> None:
    _end_left_behind()
    if _in_use(port):
        _refuse_port(port)
    embedded_home = settings.embedded_home()
    url = prepare(_say)
    fail_orphaned_runs()
    path = settings.dagster_home() / "dagster.log"
    watch = DatabaseWatch(url, embedded_home, _say)
    # Below us nobody starts the embedded server: else a run would bring back what was stopped on purpose.
    environment = os.environ | {"DATABASE_URL": url, "PORT": str(port), only_one.MARK: _mark()}
    log = LogFile(path)
    dagster = Dagster(port, environment, log, _say)
    companions = Companions(url, environment, log, _say, follow=follow)
    failed: str | None = None
    try:
        _say("Dagster starts …")
        watch.start()
        companions.start()
        ready = False
        while not watch.stopped.is_set() and failed is None:
            dagster.keep(may_start=watch.serving.is_set())
            companions.keep(may_start=watch.serving.is_set())
            if dagster.is_ready and not ready:
                ready = True
                _say(f"[bold green]http://{HOST}:{port}[/]   Ctrl-C stops it", markup=True)
                _say_where(url, path)
            failed = dagster.fails_to_start if not ready else None
            time.sleep(_POLL_S)
        if watch.stopped.is_set():
            _say("PostgreSQL was stopped on purpose (make down); stopping Dagster, too …")
    except KeyboardInterrupt:
        _say("Stopping …")
    finally:
        _on_signals(signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        watch.end()
        companions.interrupt()
        dagster.stop()
        companions.end()
        end_processes(_left_behind)
    if failed:
        _complain(f"Dagster's {failed} does not start; see {path}")
        raise typer.Exit(1)
    if watch.stopped.is_set():
        _say("Stopped.")
    else:
        _say("Stopped. The embedded PostgreSQL, if it is in use, stays: make down stops it.")


def _say_where(url: str, log: Path) -> None:
    _say(f"database  {without_password(url)}")
    _say(f"landing   {settings.landing_place()}   files moved here are ingested")
    _say(f"log       {log}")
    if address := settings.ray_address():
        _say(f"cluster   {address}   its nodes execute the runs; while it is away they wait")
    if backups := settings.backups():
        _say(f"backups   {backups}   every night, and the log as it is written")


def _say(line: str, *, markup: bool = False) -> None:
    with suppress(OSError):  # the terminal may be gone
        console.print(line, markup=markup)


def _complain(message: str) -> None:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)


def _refuse_port(port: int) -> None:
    _complain(f"port {port} is in use; stop what listens there or choose another: make up PORT={port + 1}")
    raise typer.Exit(2)


def _mark() -> str:
    return str(settings.home().resolve())


def _left_behind() -> list[psutil.Process]:
    """What runs below a ``make up`` of this home."""
    return marked(only_one.MARK, _mark())


def _end_left_behind() -> None:
    """Before we start anything: what a ``make up`` left behind that was killed."""
    if left := _left_behind():
        _say(f"Ending {len(left)} processes of a make up that was killed …")
        end_processes(_left_behind)


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """SIGINT too: a process that a script started with "&" ignores it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _in_use(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError:
            return True
    return False


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
