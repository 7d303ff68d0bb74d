"""Runs as jobs of a Ray cluster, on top of ``dagster_ray.RayRunLauncher``.

What it adds: while the head is away, or the nodes are full, launches wait in Dagster's queue; a run whose
health cannot be known keeps running for a while; runs that touch folders stay here; nothing of this process,
no password above all, is handed to the cluster.
"""

import shlex
import time
from contextlib import suppress
from functools import cached_property
from threading import Lock
from typing import Any

import dagster as dg
from dagster._config import StringSource
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.instance import DagsterInstance
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, ResumeRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData
from dagster_ray.configs import RayExecutionConfig
from dagster_ray.core.run_launcher import RayRunLauncher, get_job_submission_id_from_run_id
from ray.job_submission import JobStatus

from eventstore.server import settings
from eventstore.server.urls import checked_head
from pipelines.cluster.doubts import Doubts
from pipelines.cluster.head import Head, HeadAwayError
from pipelines.cluster.places import stays
from pipelines.cluster.reach import why_unreachable
from pipelines.launcher import WatchedRunLauncher

#: A run waits for the database for two fifths of its time: two share a processor.
CPUS_PER_RUN = 0.5
#: A node notices within a minute that its head is gone, and its runs end with it.
GRACE_S = 120
#: From SIGTERM to SIGKILL: an event batch is committed, a bucket let go.
STOP_S = 30
#: On a run that was handed over: its job. A retry inherits tags, hence also that of a run before it.
JOB_TAG = "eventstore/ray_job"
_CPUS = "eventstore/cpus"  # of a job, in its metadata
_KEEP_S = 3_600


class ClusterRunLauncher(RayRunLauncher):
    """Set by `ray_address` in eventstore.toml, see pipelines/instance.py."""

    def __init__(self, address: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(checked_head(address, name="ray_address"), num_cpus=None, inst_data=inst_data)
        self._host = WatchedRunLauncher()
        self._doubts = Doubts(GRACE_S)
        self._one_at_a_time = Lock()  # else two would count on the same free processor

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"address": StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: dict[str, Any]
    ) -> "ClusterRunLauncher":
        return cls(config_value["address"], inst_data=inst_data)

    def register_instance(self, instance: DagsterInstance) -> None:
        super().register_instance(instance)
        self._host.register_instance(instance)

    @property
    def supports_resume_run(self) -> bool:
        """A lost run is retried as a whole, in a run of its own: by its locks it does no harm if it lives."""
        return False

    @property
    def supports_run_worker_crash_recovery(self) -> bool:
        return False

    @cached_property
    def client(self) -> Head:
        return Head(self.address)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        if stays(run):
            self._host.launch_run(context)
            return
        try:
            with self._one_at_a_time:
                self._submit(run)
        except HeadAwayError as error:
            # Dagster puts a run whose code server is away back into the queue: so does this one.
            why = f"The run waits for the Ray cluster at {self.address}: {error}"
            self._instance.report_engine_event(why, run, cls=self.__class__)
            raise DagsterUserCodeUnreachableError(why) from None

    def resume_run(self, context: ResumeRunContext) -> None:
        raise NotImplementedError("a lost run is retried")

    def _submit(self, run: dg.DagsterRun) -> None:
        """Hand the run over; no harm where that was done before and only the answer was lost."""
        client, job = self.client, _job_of(run)
        if why := why_unreachable(client.node_addresses()):
            raise HeadAwayError(why)
        wants = RayExecutionConfig.from_tags(run.tags)
        cpus = wants.num_cpus if wants.num_cpus is not None else CPUS_PER_RUN
        try:
            _wait_for_room(client, cpus)
            self._instance.add_run_tags(run.run_id, {JOB_TAG: job})
            client.submit_job(
                # The node finds all else in its own environment, and in the database.
                entrypoint=f"exec python -m pipelines.cluster.worker {shlex.quote(run.run_id)}",
                submission_id=job,
                entrypoint_num_cpus=cpus,
                entrypoint_num_gpus=wants.num_gpus,
                entrypoint_memory=wants.memory,
                entrypoint_resources=wants.resources,
                runtime_env={"env_vars": self._public_variables()},
                metadata={"dagster/job": run.job_name, "dagster/run-id": run.run_id, _CPUS: str(cpus)},
            )
        except (RuntimeError, HeadAwayError) as error:
            if not self._is_there(job):
                raise HeadAwayError(str(error).splitlines()[0][:300]) from None
        self._instance.report_engine_event(f"Handed over to Ray as job {job}.", run, cls=self.__class__)

    def _public_variables(self) -> dict[str, str]:
        """Whoever may look at the cluster's pages sees them."""
        return {
            "EVENTSTORE_RAY_ADDRESS": self.address,
            "EVENTSTORE_BUCKETS": str(settings.buckets()),  # the same partitions here and there
            "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
        }

    def _is_there(self, job: str) -> bool:
        """Whether the head has it, and it lives: one that ended before its run began is begun anew."""
        with suppress(RuntimeError):
            if not self.client.get_job_status(job).is_terminal():
                return True
            self.client.delete_job(job)
        return False

    def terminate(self, run_id: str) -> bool:
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if not _is_handed_over(run):
            return bool(self._host.terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        try:
            return bool(self.client.stop_job(_job_of(run)))
        except (RuntimeError, HeadAwayError) as error:
            self._instance.report_engine_event(
                f"Ray was not told ({_line(error)}): the run sees within seconds that it is to end.", run
            )
            return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """In doubt it runs, until the doubt is too old: it is failed then, and retried."""
        if not _is_handed_over(run):
            return self._host.check_run_worker_health(run)
        try:
            status = self.client.get_job_status(_job_of(run))
        except (RuntimeError, HeadAwayError) as error:  # away, or anew and without a memory
            message = f"Ray does not know of the run: {_line(error)}"
            if self._doubts.are_too_old(run.run_id):
                self._doubts.settle(run.run_id)
                return CheckRunHealthResult(WorkerStatus.UNKNOWN, message)
            return CheckRunHealthResult(WorkerStatus.RUNNING, message)
        self._doubts.settle(run.run_id)
        if not status.is_terminal():
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"Its job on Ray is {status.value.lower()}.")

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """What Ray says of the job, with its last lines."""
        if not _is_handed_over(run):
            return None
        with suppress(RuntimeError, HeadAwayError):
            found = self.client.get_job_info(_job_of(run))
            said = found.message if found.status is not JobStatus.RUNNING else ""
            return f"Ray: job {found.submission_id} on {found.driver_node_id}: {found.status} {said}".strip()
        return None

    def dispose(self) -> None:
        self._host.dispose()

    def join(self, timeout: int = 30) -> None:
        self._host.join(timeout)  # type: ignore[no-untyped-call]


def _wait_for_room(client: Head, cpus: float) -> None:
    """Raises HeadAwayError where no node is known to have it."""
    room, promised = client.room(), _promised(client)
    if room is None:
        return
    free = min(room.free, room.cpus - promised)
    if free < cpus:
        raise HeadAwayError(f"{free:g} of {room.cpus:g} processors are free, it takes {cpus:g}")


def _promised(client: Head) -> float:
    """Processors of the jobs that have not ended: what the head says of its nodes is seconds old.

    Ray would keep each job that ended for ever, in memory: old ones are deleted on the way.
    """
    promised = 0.0
    for job in client.list_jobs():
        said = job.metadata or {}
        if not job.status.is_terminal():
            promised += float(said.get(_CPUS, 0))
        elif _CPUS in said and (job.end_time or 0) < (time.time() - _KEEP_S) * 1000:
            client.delete_job(job.submission_id)
    return promised


def _is_handed_over(run: dg.DagsterRun) -> bool:
    return run.tags.get(JOB_TAG) == _job_of(run)


def _job_of(run: dg.DagsterRun) -> str:
    return str(get_job_submission_id_from_run_id(run.run_id))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
