"""Dagster's own run launcher, and whether the process of a run still lives.

A run whose process is gone would otherwise keep its place in a pool until its maximum runtime, if its code
server was killed too, or if the database was away when it died: only the code server notices such a death,
once, and only if it can write it down.
"""

import psutil
from dagster import DagsterEventType, DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

_CLOCK_S = 2


class WatchedRunLauncher(DefaultRunLauncher):
    """Lets Dagster's run monitoring fail, and so retry, the runs whose process is gone."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """In doubt it runs. A run of ``make demo`` was never launched: nobody here knows its process."""
        worker = self._worker(run) if GRPC_INFO_TAG in run.tags else None
        if worker is None or _lives(*worker):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"Its process, {worker[0]}, is gone.")

    def _worker(self, run: DagsterRun) -> tuple[int, float] | None:
        """The process that said last that it executes the run, and when it said so."""
        records = self._instance.get_records_for_run(
            run.run_id, of_type=DagsterEventType.ENGINE_EVENT
        ).records
        for record in reversed(records):
            entry = record.event_log_entry
            metadata = entry.dagster_event.engine_event_data.metadata if entry.dagster_event else {}
            if "pid" in metadata:
                return int(str(metadata["pid"].value)), entry.timestamp
        return None


def _lives(pid: int, said_at: float) -> bool:
    """Whether that process, not a later one with its number, still runs."""
    try:
        process = psutil.Process(pid)
        began_before = process.create_time() <= said_at + _CLOCK_S
        return began_before and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
