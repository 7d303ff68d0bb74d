"""The launcher while the head is away, silent, full, or has forgotten: the head is a server of ours."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dagster as dg
import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import EngineEventData
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

pytest.importorskip("dagster_ray", reason="needs the extra [ray]: make test-cluster")

from pipelines.cluster import head as head_module
from pipelines.cluster import launcher as launcher_module
from pipelines.cluster.doubts import Doubts
from pipelines.cluster.launcher import JOB_TAG, ClusterRunLauncher


@dg.job
def some() -> None:
    """A job without steps: what is launched is looked at, not executed."""


class Recorded:
    """Answers as the head of a cluster with so many free processors; remembers what it was sent."""

    def __init__(self) -> None:
        self.free, self.cpus = 4.0, 4.0
        self.jobs: dict[str, str] = {}
        self.submitted: list[dict[str, Any]] = []
        self.loses_answers = self.refuses = False
        self.ends: int | None = None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:  # noqa: PLR0911 (one a path)
        if method == "GET" and path == "/api/jobs/":
            return 200, [self.details(job) for job in self.jobs]
        if path.startswith("/api/version"):
            return 200, {"version": "4", "ray_version": "2.60.0", "ray_commit": "x", "session_name": "s"}
        if path.startswith("/api/cluster_status"):
            usage = {"CPU": [self.cpus - self.free, self.cpus]} if self.cpus else {}
            return 200, {"data": {"clusterStatus": {"loadMetricsReport": {"usage": usage}}}}
        if path.startswith("/api/v0/nodes"):
            node = {"node_ip": "127.0.0.1", "state": "ALIVE"}
            return 200, {"data": {"result": {"result": [node]}}}
        if method == "POST" and path == "/api/jobs/":
            if self.refuses:
                return 500, "Job with submission_id already exists"
            sent = json.loads(body)
            self.submitted.append(sent)
            self.jobs[sent["submission_id"]] = "PENDING"
            if self.loses_answers:
                return 500, {}
            return 200, {"job_id": "x", "submission_id": sent["submission_id"]}
        job = path.removeprefix("/api/jobs/").split("/")[0]
        if job not in self.jobs:
            return 404, f"Job {job} does not exist"
        if path.endswith("/stop"):
            self.jobs[job] = "STOPPED"
            return 200, {"stopped": True}
        if method == "DELETE":
            del self.jobs[job]
            return 200, {"deleted": True}
        return 200, self.details(job)

    def details(self, job: str) -> dict[str, Any]:
        said = {"type": "SUBMISSION", "job_id": None, "submission_id": job, "status": self.jobs[job]}
        sent = [each["metadata"] for each in self.submitted if each["submission_id"] == job]
        metadata = sent[0] if sent else {"eventstore/cpus": "0.5"}
        return said | {"entrypoint": "x", "metadata": metadata, "runtime_env": {}, "end_time": self.ends}


@contextmanager
def serving(recorded: Recorded) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = recorded.answer(self.command, self.path, body)
            said = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Not on the terminal of the tests."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def address(recorded: Recorded) -> Iterator[str]:
    with serving(recorded) as url:
        yield url


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s3cret@db.example/shop")
    with dg.DagsterInstance.ephemeral() as made:
        yield made


Make = Callable[..., tuple[ClusterRunLauncher, dg.DagsterRun]]


@pytest.fixture
def make(instance: dg.DagsterInstance) -> Make:
    def made(address: str, status: str = "STARTED", **tags: str) -> tuple[ClusterRunLauncher, dg.DagsterRun]:
        launcher = ClusterRunLauncher(address)
        launcher.register_instance(instance)
        run = instance.create_run_for_job(some, tags=tags, status=dg.DagsterRunStatus(status))
        if status == "STARTED":  # it was launched
            instance.add_run_tags(run.run_id, {JOB_TAG: f"dagster-run-{run.run_id}"})
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        return launcher, found

    return made


def away() -> str:
    """An address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def launch(launcher: ClusterRunLauncher, run: dg.DagsterRun) -> None:
    launcher.launch_run(LaunchRunContext(run, workspace=None))


def test_while_the_head_is_away_a_run_goes_back_into_the_queue(make: Make) -> None:
    """As Dagster does with one whose code server is away: pipelines/instance.py says how often."""
    launcher, run = make(away(), "STARTING")
    with pytest.raises(DagsterUserCodeUnreachableError, match=r"waits for .* cannot be reached"):
        launch(launcher, run)


def test_a_head_that_accepts_and_never_answers_holds_nobody_up(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "_WAIT_S", (0.2, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        launcher, run = make(f"http://127.0.0.1:{silent.getsockname()[1]}", "STARTING")
        with pytest.raises(DagsterUserCodeUnreachableError):
            launch(launcher, run)


def test_on_a_full_cluster_a_run_waits_in_the_queue(make: Make, recorded: Recorded, address: str) -> None:
    recorded.free = 0.25
    launcher, run = make(address, "STARTING")
    with pytest.raises(
        DagsterUserCodeUnreachableError, match=r"0\.25 of 4 processors are free, it takes 0.5"
    ):
        launch(launcher, run)
    assert recorded.submitted == []


def test_a_head_without_nodes_gets_no_run(make: Make, recorded: Recorded, address: str) -> None:
    recorded.free = recorded.cpus = 0
    launcher, run = make(address, "STARTING")
    with pytest.raises(DagsterUserCodeUnreachableError, match=r"0 of 0 processors are free"):
        launch(launcher, run)


def test_two_runs_do_not_count_on_the_same_free_processor(
    make: Make, recorded: Recorded, address: str
) -> None:
    """What the head says of its nodes is seconds old."""
    recorded.free = recorded.cpus = 0.5
    launcher, run = make(address, "STARTING")
    launch(launcher, run)
    launcher, other = make(address, "STARTING")
    with pytest.raises(DagsterUserCodeUnreachableError, match=r"0 of 0\.5 processors are free"):
        launch(launcher, other)
    recorded.jobs = dict.fromkeys(recorded.jobs, "SUCCEEDED")
    launch(launcher, other)


def test_a_job_is_told_the_id_of_the_run_and_nothing_that_is_secret(
    make: Make, recorded: Recorded, address: str
) -> None:
    wants = json.dumps({"num_cpus": 2, "env_vars": ["DATABASE_URL"], "runtime_env": {"pip": ["x"]}})
    launcher, run = make(address, "STARTING", **{"dagster-ray/config": wants})
    launch(launcher, run)
    [job] = recorded.submitted
    assert job["entrypoint"] == f"exec python -m pipelines.cluster.worker {run.run_id}"
    assert job["entrypoint_num_cpus"] == 2
    assert set(job["runtime_env"]) <= {"env_vars", "_ray_commit"}
    assert job["runtime_env"]["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"] == str(launcher_module.STOP_S)
    assert "s3cret" not in json.dumps(job)
    assert "DATABASE_URL" not in json.dumps(job)


def test_a_run_that_was_handed_over_although_the_answer_was_lost_is_not_launched_twice(
    make: Make, recorded: Recorded, address: str
) -> None:
    recorded.loses_answers = True
    launcher, run = make(address, "STARTING")
    launch(launcher, run)
    assert len(recorded.submitted) == 1


def test_a_job_that_ended_before_its_run_began_is_begun_anew(
    make: Make, recorded: Recorded, address: str
) -> None:
    recorded.loses_answers = True
    launcher, run = make(address, "STARTING")
    launch(launcher, run)
    recorded.jobs = dict.fromkeys(recorded.jobs, "FAILED")
    with pytest.raises(DagsterUserCodeUnreachableError):  # its name is taken: it waits, and the name is free
        recorded.refuses = True
        launch(launcher, run)
    assert recorded.jobs == {}


def test_a_run_of_which_the_head_knows_nothing_lives_for_a_while(
    make: Make, recorded: Recorded, address: str
) -> None:
    for where in (address, away()):
        launcher, run = make(where)
        times = iter((0.0, 59.0, 60.0))
        launcher._doubts = Doubts(60, clock=times.__next__)
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
        found = launcher.check_run_worker_health(run)
        assert found.status is WorkerStatus.UNKNOWN
        assert "\n" not in str(found.msg)


def test_a_retry_of_a_run_of_the_host_is_asked_after_at_ray(
    make: Make, recorded: Recorded, address: str, instance: dg.DagsterInstance
) -> None:
    """It inherits the tags of that run."""
    launcher, run = make(address, **{GRPC_INFO_TAG: '{"host": "localhost", "socket": "/gone"}'})
    recorded.jobs[f"dagster-run-{run.run_id}"] = "RUNNING"
    instance.report_engine_event("Started.", run, EngineEventData.in_process(2**22 + 1))  # elsewhere
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_of_the_host_that_retries_one_of_a_node_is_looked_for_here(
    make: Make, recorded: Recorded, address: str, instance: dg.DagsterInstance
) -> None:
    tags = {GRPC_INFO_TAG: '{"host": "localhost", "socket": "/gone"}', JOB_TAG: "dagster-run-another"}
    launcher, run = make(address, "STARTING", **tags)
    instance.report_engine_event("Started.", run, EngineEventData.in_process(2**22 + 1))
    assert launcher.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


def test_jobs_that_ended_long_ago_are_forgotten(make: Make, recorded: Recorded, address: str) -> None:
    recorded.jobs = {"dagster-run-old": "SUCCEEDED"}
    recorded.ends = 1
    launcher, run = make(address, "STARTING")
    launch(launcher, run)
    assert set(recorded.jobs) == {f"dagster-run-{run.run_id}"}


@pytest.mark.parametrize(
    ("job", "health"),
    [
        ("PENDING", WorkerStatus.RUNNING),
        ("RUNNING", WorkerStatus.RUNNING),
        ("FAILED", WorkerStatus.FAILED),
        ("STOPPED", WorkerStatus.FAILED),
        ("SUCCEEDED", WorkerStatus.FAILED),  # its run has not ended, and nobody is left to end it
    ],
)
def test_a_run_is_as_healthy_as_its_job(
    make: Make, recorded: Recorded, address: str, job: str, health: WorkerStatus
) -> None:
    launcher, run = make(address)
    recorded.jobs[f"dagster-run-{run.run_id}"] = job
    assert launcher.check_run_worker_health(run).status is health


def test_a_cancelled_run_is_told_by_ray_and_else_sees_it_by_itself(
    make: Make, recorded: Recorded, address: str, instance: dg.DagsterInstance
) -> None:
    launcher, run = make(address)
    recorded.jobs[f"dagster-run-{run.run_id}"] = "RUNNING"
    assert launcher.terminate(run.run_id)
    assert set(recorded.jobs.values()) == {"STOPPED"}
    launcher, run = make(away())
    assert launcher.terminate(run.run_id)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    assert found.status is dg.DagsterRunStatus.CANCELING
