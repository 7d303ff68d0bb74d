"""The three processes of a Dagster: code server, daemon, web server; how each is started and asked."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient

from eventstore.server import settings
from pipelines.log_file import LogFile
from pipelines.supervision import Say, Service

HOST = "127.0.0.1"
_CODE = "pipelines.definitions"
_STOP_S = 60
_HTTP_S = 10
_BEAT_S = 90  # each part of the daemon gives a sign of life every 30 s
_SLOW_BEAT_S = 900  # … unless it is in the middle of something long
_LONGEST_SOCKET_FOLDER = 90
_HEARTBEATS = "{ instance { daemonHealth { allDaemonStatuses { required lastHeartbeatTime } } } }"


class Dagster:
    """All of them, each looked after on its own: a killed web server interrupts no run."""

    def __init__(self, port: int, environment: Mapping[str, str], log: LogFile, say: Say) -> None:
        self._port = port
        self._folder = _socket_folder()
        socket = str(self._folder / "code")
        workspace = self._folder / "workspace.yaml"
        server = {"location_name": _CODE, "host": "localhost", "socket": socket}
        workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
        python, load = [sys.executable, "-m"], ["--workspace", str(workspace)]
        code = [*python, "dagster", "code-server", "start", "-m", _CODE, "--socket", socket]
        code += ["--log-level", "warning", "--inject-env-vars-from-instance"]
        daemon = [*python, "dagster._daemon", "run", *load]
        web = [*python, "dagster_webserver", "--host", HOST, "--port", str(port), *load]
        # With -m, a module of the current folder would hide one that Dagster needs.
        common: dict[str, Any] = {"environment": environment, "folder": settings.dagster_home()}
        common |= {"log": log, "say": say}
        client = DagsterGrpcClient(socket=socket)
        self._code = Service("code server", code, lambda _: _pings(client), patience=45, **common)
        self._daemon = Service("daemon", daemon, self._beats, patience=90, **common)
        self._web = Service("web server", web, lambda _: self._serves(), patience=90, **common)

    @property
    def is_ready(self) -> bool:
        """Whether the pages can be looked at."""
        return self._web.answered.is_set()

    @property
    def fails_to_start(self) -> str | None:
        """The one that ended three times and never worked."""
        return next((one.name for one in self._all if one.failed_starts >= 3), None)

    def keep(self, *, may_start: bool) -> None:
        """Look after all, a few times a second."""
        self._code.keep(may_start=may_start)
        for one in (self._daemon, self._web):  # both load the code at their start
            one.keep(may_start=may_start and self._code.answered.is_set())

    def stop(self) -> None:
        """Stop all, the runs too: they are retried at the next start. Nothing is left behind."""
        others = (self._daemon, self._web)
        for one in others:
            one.interrupt()
        deadline = time.monotonic() + _STOP_S
        for one in others:
            one.end(max(0.0, deadline - time.monotonic()))
        self._code.end(0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _all(self) -> tuple[Service, ...]:
        return self._code, self._daemon, self._web

    def _serves(self) -> bool:
        with suppress(OSError, HTTPException):
            return self._get("GET", "/server_info")[0] == 200
        return False

    def _beats(self, started_at: float) -> bool | None:
        """Whether the daemon works: its parts, by what the web server says of them."""
        body = json.dumps({"query": _HEARTBEATS})
        try:
            status, answer = self._get("POST", "/graphql", body)
            found = json.loads(answer)["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
            beats = [one["lastHeartbeatTime"] or 0.0 for one in found if one["required"]]
        except (OSError, HTTPException, ValueError, LookupError, TypeError):
            return None  # the web server or the database is away
        if status != 200 or not beats:
            return None
        now = time.time()
        slowest = now - max(min(beats), started_at)
        return max(beats) > max(started_at, now - _BEAT_S) and slowest < _SLOW_BEAT_S

    def _get(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        connection = HTTPConnection(HOST, self._port, timeout=_HTTP_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def _pings(client: DagsterGrpcClient) -> bool:
    """Through to the process that holds the code: the one in front of it may outlive it."""
    with suppress(DagsterUserCodeUnreachableError):
        return bool(client.ping("ping")["echo"] == "ping")
    return False


def _socket_folder() -> Path:
    """In the home folder, unless that makes the path of the socket too long for the system."""
    folder = settings.dagster_home() / "up"
    if len(os.fsencode(folder)) > _LONGEST_SOCKET_FOLDER:
        return Path(tempfile.mkdtemp(prefix="eventstore-up-", dir="/tmp"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
