"""``make cluster``: a head and nodes of Ray on this machine, for a try, until Ctrl-C."""

import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import psutil
import typer

from eventstore.server import settings
from eventstore.server.errors import ServerError
from eventstore.server.processors import processors
from pipelines.cluster.token import made_token, use_token
from pipelines.log_file import LogFile
from pipelines.supervision import Service, end_processes, marked

_MARK = "EVENTSTORE_LOCAL_CLUSTER"
_OBJECT_STORE_BYTES = 78_643_200  # the least that Ray takes: runs put nothing there
_HOST = "127.0.0.1"
_POLL_S = 0.2


class LocalCluster:
    """All of its processes, started again when they end, as systemd would."""

    def __init__(
        self,
        nodes: int,
        cpus: int,
        port: int,
        environment: Mapping[str, str],
        log: LogFile,
        say: Callable[[str], None],
    ) -> None:
        self._mark = uuid4().hex
        self._folder = Path(
            tempfile.mkdtemp(prefix="eventstore-ray-", dir="/tmp")
        )  # a socket's path is short
        self.address = f"http://{_HOST}:{port}"
        gcs = _free_port()
        common: dict[str, Any] = {
            "environment": {
                **environment,
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
                "RAY_USAGE_STATS_ENABLED": "0",
                _MARK: self._mark,
            },
            "folder": settings.made(settings.home()),
            "log": log,
            "say": say,
            "of": "The",
        }
        start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        start += [f"--object-store-memory={_OBJECT_STORE_BYTES}"]
        head = [*start, "--head", f"--port={gcs}", f"--dashboard-host={_HOST}", f"--dashboard-port={port}"]
        head += [
            "--num-cpus=0",
            f"--ray-client-server-port={_free_port()}",
            f"--temp-dir={self._folder}",
            *_ports(),
        ]
        self._head = Service("head", head, lambda _: self._answers(), patience=60, **common)
        self._nodes = [
            Service(
                f"node {number}",
                [*start, f"--address={_HOST}:{gcs}", f"--num-cpus={cpus}", *_ports()],
                lambda _: True,
                patience=60,
                **common,
            )
            for number in range(1, nodes + 1)
        ]

    @property
    def is_ready(self) -> bool:
        return self._head.answered.is_set() and self._has_nodes()

    @property
    def fails_to_start(self) -> bool:
        return self._head.failed_starts >= 3

    def keep(self) -> None:
        """Look after all, a few times a second."""
        self._head.keep()
        for node in self._nodes:
            node.keep(may_start=self._head.answered.is_set())

    def processes(self) -> list[psutil.Process]:
        """Everything that was started, and the runs."""
        return marked(_MARK, self._mark)

    def stop(self) -> None:
        """End everything, the runs too."""
        for each in (*self._nodes, self._head):
            each.interrupt()
        for each in (*self._nodes, self._head):
            each.end(0)
        end_processes(self.processes)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        from pipelines.cluster.head import Head, HeadAwayError  # noqa: PLC0415 (only with the extra [ray])

        with suppress(HeadAwayError):
            return bool(Head(self.address).node_addresses())
        return False

    def _has_nodes(self) -> bool:
        from pipelines.cluster.head import Head, HeadAwayError  # noqa: PLC0415

        with suppress(HeadAwayError):
            return len(Head(self.address).node_addresses()) > len(self._nodes)
        return False


def main(
    nodes: Annotated[int, typer.Option(min=1, max=16, help="How many nodes.")] = 2,
    cpus: Annotated[
        int, typer.Option(min=0, help="Processors that each offers; 0: its share of this machine's.")
    ] = 0,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the head is asked for its jobs.")] = 8265,
) -> None:
    """Run a head and nodes of Ray here. Ctrl-C stops them."""
    if find_spec("ray") is None:  # not imported yet: it reads the token's variables then
        _complain("the package ray is not installed: pip install 'eventstore[ray]'")
        raise typer.Exit(1)
    try:
        url = settings.database_url()
        made_token()
    except ServerError as error:
        _complain(str(error))
        raise typer.Exit(1) from None
    use_token()
    environment = os.environ | {"DATABASE_URL": url, "EVENTSTORE_HOME": str(settings.home())}
    log = LogFile(settings.made(settings.home() / "ray") / "ray.log")
    cluster = LocalCluster(nodes, cpus or max(1, processors() // nodes), port, environment, log, typer.echo)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        typer.echo(f"Ray starts, a head and {nodes} nodes …")
        _look_after(cluster)
    except KeyboardInterrupt:
        typer.echo("Stopping …")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        cluster.stop()
    if cluster.fails_to_start:
        _complain(f"Ray's head does not start; see {settings.home() / 'ray' / 'ray.log'}")
        raise typer.Exit(1)
    typer.echo("Stopped.")


def _look_after(cluster: LocalCluster) -> None:
    ready = False
    while not cluster.fails_to_start:
        cluster.keep()
        if not ready and cluster.is_ready:
            ready = True
            typer.echo(f"{cluster.address}   Ctrl-C stops it. In another terminal:")
            typer.echo(f"  EVENTSTORE_RAY_ADDRESS={cluster.address} make up")
        time.sleep(_POLL_S)


def _ports() -> list[str]:
    """Of what would else listen on one port in every node."""
    return [f"--dashboard-agent-listen-port={_free_port()}", "--min-worker-port=0", "--max-worker-port=0"]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((_HOST, 0))
        return int(listener.getsockname()[1])


def _complain(message: str) -> None:
    typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
