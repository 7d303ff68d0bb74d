"""``make up``: Dagster's web pages with the schedules and the landing sensor on, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
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
from pipelines.instance import fail_orphaned_runs, prepare

_HOST = "127.0.0.1"
_STOP_S = 60
_RUN_STOP_S = 15
_POLL_S = 0.2

console = Console(highlight=False, soft_wrap=True)


def main(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web pages.")] = 3000,
) -> None:
    """Run Dagster: web pages, daemon, schedules and the landing sensor. Ctrl-C stops it all."""
    if _in_use(port):
        _complain(
            f"port {port} is in use; stop what listens there or choose another: make up PORT={port + 1}"
        )
        raise typer.Exit(2)
    try:
        url = prepare()
        fail_orphaned_runs()
    except (ServerError, EventStoreError, psycopg.Error) as error:
        _complain(str(error).strip())
        raise typer.Exit(1) from None
    _on_signals(_interrupt)
    log = settings.dagster_home() / "dagster.log"
    dagster = _start(port, log)
    try:
        console.print("Dagster starts …")
        if _wait_until_ready(dagster, port):
            console.print(f"[bold green]http://{_HOST}:{port}[/]   Ctrl-C stops it")
            console.print(f"database  {without_password(url)}")
            console.print(f"landing   {settings.landing()}   files moved here are ingested")
            console.print(f"log       {log}")
        dagster.wait()
    except KeyboardInterrupt:
        _on_signals(signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        console.print("Stopping …")
    finally:
        ended_by_itself = dagster.poll() is not None
        _stop(dagster)
    if ended_by_itself:
        _complain(f"Dagster ended by itself with code {dagster.returncode}; see {log}")
        raise typer.Exit(1)
    console.print("Stopped. The embedded PostgreSQL, if it is in use, stays: make down stops it.")


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    """SIGINT too: a process that a script started with "&" ignores it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _complain(message: str) -> None:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)


def _in_use(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError:
            return True
    return False


def _start(port: int, log: Path) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches only us, and we stop Dagster in the order that it needs."""
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions"]
    options = ["--host", _HOST, "--port", str(port)]
    with log.open("wb") as output:
        return subprocess.Popen(
            [*command, *options],
            cwd=log.parent,  # with -m, a module of the current folder would hide one that Dagster needs
            start_new_session=True,
            stdout=output,
            stderr=output,
        )


def _wait_until_ready(dagster: subprocess.Popen[bytes], port: int) -> bool:
    """False if Dagster ended before it answered."""
    while dagster.poll() is None:
        connection = HTTPConnection(_HOST, port, timeout=5)
        try:
            connection.request("GET", "/server_info")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(_POLL_S)
        finally:
            connection.close()
    return False


def _stop(dagster: subprocess.Popen[bytes]) -> None:
    """Ask Dagster to stop, then end the runs that it leaves behind: they are retried at the next start."""
    if dagster.poll() is None:
        dagster.send_signal(signal.SIGINT)
        try:
            dagster.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            dagster.kill()
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        left = _members(dagster.pid)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                ask(process)
        psutil.wait_procs(left, timeout=_RUN_STOP_S)


def _members(session: int) -> list[psutil.Process]:
    """The processes of a session, those too whose parent is gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session:
                found.append(process)
    return found


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
