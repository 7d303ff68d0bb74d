"""``make up``: Dagster's web pages with the schedules and the landing sensor on, until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from types import FrameType
from typing import Annotated

import psutil
import typer
from rich.console import Console

from eventstore.log.errors import EventStoreError
from eventstore.server import settings
from eventstore.server.errors import ServerError
from eventstore.server.urls import without_password
from pipelines.instance import prepare

_HOST = "127.0.0.1"
_START_S = 120
_STOP_S = 60
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
    except (ServerError, EventStoreError) as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a script's "&" ignores it
        signal.signal(number, _interrupt)
    dagster = _start(port)
    try:
        console.print("Dagster starts …")
        if _wait_until_ready(dagster, port):
            console.print(f"[bold green]http://{_HOST}:{port}[/]  Ctrl-C stops it")
            console.print(f"database  {without_password(url)}")
            console.print(f"landing   {settings.landing()}  (files dropped here are ingested)")
        dagster.wait()
    except KeyboardInterrupt:
        console.print("Stopping …")
        _stop(dagster)
        console.print("Stopped. The embedded PostgreSQL, if there is one, goes on: make down stops it.")
        return
    finally:
        _stop(dagster)
    _complain(f"Dagster ended by itself with code {dagster.returncode}; see its messages above")
    raise typer.Exit(1)


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


def _start(port: int) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches only us, and we stop Dagster in the order it needs."""
    command = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions"]
    options = ["--host", _HOST, "--port", str(port), "--log-level", "error"]
    quiet = {
        "PYTHONWARNINGS": "ignore:Function `dev_command`"
    }  # "use dg dev instead", which is no dependency
    return subprocess.Popen([*command, *options], start_new_session=True, env=os.environ | quiet)


def _wait_until_ready(dagster: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + _START_S
    while dagster.poll() is None and time.monotonic() < deadline:
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
    """Ask Dagster to stop, wait, and end what it leaves behind."""
    try:
        family = psutil.Process(dagster.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    dagster.send_signal(signal.SIGINT)
    try:
        dagster.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        dagster.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    for process in alive:
        process.kill()


if __name__ == "__main__":
    typer.run(main)
