"""A Ray cluster and a Dagster on this machine, driven from a test."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import psutil
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from pipelines.cluster.head import Head, HeadAwayError
from pipelines.cluster.local import LocalCluster
from tests.buckets import BUCKETS
from tests.graphql import ask, log_of

T = TypeVar("T")
#: Starting a run takes seconds, on a busy machine many: what is waited for here is a state, never a time.
LONG = 420


def until(condition: Callable[[], T], seconds: float = LONG) -> T:
    """The first true value of ``condition``."""
    again = retry(
        retry=retry_if_result(lambda value: not value), wait=wait_fixed(0.5), stop=stop_after_delay(seconds)
    )
    return again(condition)()


class Cluster:
    """A head and nodes that are started again when they end, as systemd would."""

    def __init__(self, local: LocalCluster) -> None:
        self._local, self._end = local, Event()
        self.address = local.address
        self._thread = Thread(target=self._keep)

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._local.is_ready)

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        self._local.stop()

    def jobs(self) -> dict[str, Any]:
        """What the head says of its jobs, by the id of the run."""
        with suppress(HeadAwayError):
            return {
                job.metadata["dagster/run-id"]: job for job in Head(self.address).list_jobs() if job.metadata
            }
        return {}

    def nodes(self) -> int:
        with suppress(HeadAwayError):
            return len(Head(self.address).node_addresses()) - 1
        return 0

    def run_processes(self, run: str) -> list[psutil.Process]:
        """Its own; that of Ray above it has the id in its name too."""
        command = f"pipelines.cluster.worker {run}"
        return [each for each in self._local.processes() if _command(each).endswith(command)]

    def node_with(self, run: str) -> list[psutil.Process]:
        """Everything of the node that executes the run."""
        [worker] = self.run_processes(run)
        raylet = next(each for each in worker.parents() if "raylet" in each.name())
        starter = raylet.parent()
        assert starter is not None
        return [*raylet.children(recursive=True), raylet, *starter.children(recursive=True), starter]

    def head_of(self, _run: str) -> list[psutil.Process]:
        """Everything of the head."""
        starter = next(each for each in self._local.processes() if " --head " in _command(each))
        return [*starter.children(recursive=True), starter]

    def _keep(self) -> None:
        while not self._end.wait(0.2):
            self._local.keep()


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def kill(processes: list[psutil.Process]) -> None:
    """With 9, all at once."""
    for each in processes:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(processes, timeout=30)


class Dagster:
    """A ``make up``, through its web server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        return ask(self.url, query, **variables)

    def runs(self, **tags: str) -> list[dict[str, Any]]:
        """The newest first."""
        wanted = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
        found: list[dict[str, Any]] = self.query(
            "query ($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}) { ... on Runs { results {"
            " runId jobName status tags { key value } } } } }",
            tags=wanted,
        )["runsOrError"]["results"]
        return found

    def replay(self) -> str:
        """Launches a backfill of all buckets of ``orders_replay`` and, after them, of ``orders``."""
        keys = [f"{bucket:02d}" for bucket in range(BUCKETS)]
        launched = self.query(
            "mutation ($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p) {"
            " __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
            p={
                "assetSelection": [{"path": ["orders_replay"]}, {"path": ["orders"]}],
                "partitionNames": keys,
                "tags": [],
            },
        )["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def backfill_status(self, backfill: str) -> str:
        return str(
            self.query(
                "query ($id: String!) { partitionBackfillOrError(backfillId: $id) {"
                " ... on PartitionBackfill { status } } }",
                id=backfill,
            )["partitionBackfillOrError"]["status"]
        )

    def cancel(self, run: str) -> None:
        self.query(
            "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }",
            run=run,
        )

    def status(self, run: str) -> str:
        return str(
            self.query("query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }", run=run)[
                "runOrError"
            ]["status"]
        )

    def events(self, run: str) -> list[str]:
        return [event["message"] for event in log_of(self.url, run)]


@contextmanager
def dagster_up(home: Path, port: int, environment: dict[str, str]) -> Iterator[Dagster]:
    """``make up`` as a process of its own, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.up", "--port", str(port)],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            started = time.monotonic()
            assert any("Ctrl-C stops it" in line for line in lines), f"not up in {time.monotonic() - started}"
            yield Dagster(f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)
