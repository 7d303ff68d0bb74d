"""A run on a node: ``python -m pipelines.cluster.worker RUN_ID``.

The node knows the database by its own environment; Dagster's own follows from it, or from
EVENTSTORE_DAGSTER_URL. A run that was given up meanwhile, as one of a node that is lost, ends within seconds.
"""

import os
import sys
from typing import NoReturn

import dagster as dg
from dagster._cli.api import _execute_run_command_body
from dagster._core.execution.run_cancellation_thread import start_run_cancellation_thread
from dagster._core.instance import DagsterInstance
from dagster._utils.interrupts import capture_interrupts

from eventstore.server import settings
from eventstore.server.errors import ServerError
from pipelines.instance import STORAGE_URL, storage_url, write_dagster_yaml

_MISUSED = 2


def main(arguments: list[str]) -> int:
    """Execute one run; what it did is in Dagster's database. Returns the exit code."""
    if len(arguments) != 1:
        _refuse("give the id of a run", _MISUSED)
    [run_id] = arguments
    try:
        _prepare()
    except ServerError as error:
        _refuse(str(error), 1)
    with capture_interrupts(), DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is None:
            _refuse(f"there is no run {run_id} in the database of Dagster that this node names", 1)
        return _execute(instance, run)


def _prepare() -> None:
    """A home of Dagster for this node: the host's may be the same folder, and says other things."""
    given = settings.given_url()
    if given is None:
        raise ServerError(
            "this node names no database: set DATABASE_URL, or DATABASE_URL_FILE, where `ray start` is run"
        )
    os.environ.setdefault(STORAGE_URL, storage_url(given.value))
    folder = settings.made(settings.home() / "worker")
    os.environ["DAGSTER_HOME"] = str(folder)
    write_dagster_yaml(folder, {"env": STORAGE_URL})


def _execute(instance: DagsterInstance, run: dg.DagsterRun) -> int:
    watch, end = start_run_cancellation_thread(instance, run.run_id)
    try:
        return _execute_run_command_body(
            run.run_id, instance, lambda _event: None, set_exit_code_on_failure=True
        )
    finally:
        end.set()
        watch.join()


def _refuse(why: str, code: int) -> NoReturn:
    sys.stderr.write(f"error: {why}\n")
    sys.exit(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
