"""Dagster's home folder: its configuration, and a database of its own beside the event store's."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from eventstore.log.buckets import buckets_of
from eventstore.log.connection import open_connection
from eventstore.log.room_for_locks import make_room
from eventstore.log.schema import migrate
from eventstore.orders.domain import DOMAIN
from eventstore.server import processors, settings
from eventstore.server.databases import ensure_database
from eventstore.server.errors import ServerError
from eventstore.server.urls import without_password
from pipelines.cluster.reach import why_unreachable
from pipelines.cluster.token import use_token

STORAGE_URL = "EVENTSTORE_DAGSTER_URL"
_RETRY_S = 15

_DAGSTER_YAML = """\
# Written anew by `make up` and `make demo`.
storage:
  postgres:
    postgres_url: {storage_url}
run_launcher: {launcher}  # a run whose process is gone fails, and is retried, within seconds

telemetry:
  enabled: false
nux:
  enabled: false  # else a sign-up window covers the page
python_logs:
  python_log_level: INFO  # on the console; the page of a run shows all of its events

# A job says how often and how long by tags; these hold for backfills and for "Materialize" in the UI.
run_retries:
  enabled: true
  max_retries: 3
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
  max_runtime_seconds: 21600
  free_slots_after_run_end_seconds: 5

# Every pool (ingest, replay, refresh) has places of its own: a replay or a long ingestion never keeps a
# refresh waiting. Both figures come from eventstore.toml.
concurrency:
  pools:
    granularity: op
    default_limit: {runs_per_pool}
  runs:
    max_concurrent_runs: {concurrent_runs}
run_queue:
  dequeue_interval_seconds: 1
  dequeue_use_threads: true  # to launch a run takes seconds: no other run waits for that
  # What cannot be launched just now, as the code server or the cluster is away, waits: it does not fail.
  max_user_code_failure_retries: 1000000
  user_code_failure_retry_delay: {retry_seconds}

freshness:
  enabled: true

# The sensor looks every five seconds.
retention:
  schedule:
    purge_after_days: {{skipped: 2}}
  sensor:
    purge_after_days: {{skipped: 1}}
"""


def prepare(say: Callable[[str], None] = lambda _: None) -> str:
    """Make ready what Dagster needs: both databases, the folders and dagster.yaml. Returns the store's URL.

    ``say`` is told of an upgrade that takes long, and of too little room for locks. Sets DAGSTER_HOME and the
    like for this process and its children.
    """
    url = settings.database_url()
    dagster_url = settings.dagster_database_url(url)
    plan_for_the_cluster()
    ensure_database(url)
    ensure_database(dagster_url)
    migrate.upgrade(url, functions=DOMAIN.functions, buckets=settings.given_buckets(), say=say)
    with open_connection(url) as connection:
        os.environ["EVENTSTORE_BUCKETS"] = str(buckets_of(connection))
    if (lacking := make_room(url, settings.embedded_home())) is not None:
        say("; ".join(lacking))
    settings.made_landing()
    settings.made(settings.dagster_home())
    os.environ["EVENTSTORE_HOME"] = str(settings.home())
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home())
    os.environ[STORAGE_URL] = storage_url(url)
    # A URL without a password is written out, so that other Dagster commands need only DAGSTER_HOME.
    has_password = without_password(dagster_url) != dagster_url
    write_dagster_yaml(settings.dagster_home(), {"env": STORAGE_URL} if has_password else storage_url(url))
    with dg.DagsterInstance.get() as instance:
        instance.event_log_storage.set_concurrency_slots("replay", settings.replay_runs())
    return url


def fail_orphaned_runs() -> int:
    """Report the runs failed whose Dagster is gone, so that they are retried. Returns how many there were.

    Nobody else would notice before their maximum runtime, and until then they keep their place in a pool.
    """
    with dg.DagsterInstance.get() as instance:
        unfinished = instance.get_runs(dg.RunsFilter(statuses=list(IN_PROGRESS_RUN_STATUSES)))
        orphaned = [run for run in unfinished if _is_orphaned(run)]
        for run in orphaned:
            instance.report_run_failed(run, "The Dagster that ran it was stopped.")
    return len(orphaned)


def _is_orphaned(run: dg.DagsterRun) -> bool:
    """Whether the code server that started the run is gone. A run of ``make demo`` never had one."""
    server = json.loads(run.tags.get(GRPC_INFO_TAG, "{}"))
    if not server:
        return False
    try:
        DagsterGrpcClient(server.get("port"), server.get("socket"), server["host"]).ping("")
    except DagsterUserCodeUnreachableError:
        return True
    return False


def plan_for_the_cluster() -> None:
    """Where runs are executed on a cluster: whether that can be, and how many processors it has.

    A head that is away just now is no reason not to start: runs wait for it.
    """
    address = settings.ray_address()
    if address is None:
        return
    use_token()
    try:
        from pipelines.cluster.head import Head, HeadAwayError  # noqa: PLC0415
    except ImportError:
        raise ServerError(
            "a Ray cluster is to execute the runs (ray_address), but its packages are not installed: "
            "pip install 'eventstore[ray]'"
        ) from None
    with suppress(HeadAwayError):
        head = Head(address)
        if why := why_unreachable(head.node_addresses()):
            raise ServerError(why)
        room = head.room()
        if room is not None and room.cpus >= 1:
            os.environ.setdefault(processors.VARIABLE, str(int(room.cpus)))


def write_dagster_yaml(folder: Path, storage: str | dict[str, str]) -> None:
    """dagster.yaml of a home of Dagster. ``storage``: the URL of its database, or the variable with it."""
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / f".dagster.yaml.{os.getpid()}"
    written.write_text(
        _DAGSTER_YAML.format(
            storage_url=json.dumps(storage),
            launcher=json.dumps(_launcher()),
            runs_per_pool=settings.machine().runs_per_pool,
            concurrent_runs=settings.concurrent_runs(),
            retry_seconds=_RETRY_S,
        )
    )
    written.replace(folder / "dagster.yaml")  # a Dagster that runs never reads half a file


def _launcher() -> dict[str, object]:
    address = settings.ray_address()
    if address is None:
        return {"module": "pipelines.launcher", "class": "WatchedRunLauncher"}
    return {
        "module": "pipelines.cluster.launcher",
        "class": "ClusterRunLauncher",
        "config": {"address": address},
    }


def storage_url(url: str) -> str:
    """The URL of Dagster's own database, for the store at ``url``.

    dagster-postgres needs psycopg 2; SQLAlchemy 2.1 takes psycopg 3 for a plain ``postgresql://``.
    """
    return settings.dagster_database_url(url).replace("postgresql://", "postgresql+psycopg2://", 1)
