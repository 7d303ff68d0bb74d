"""Dagster's home folder: its configuration, and a database of its own beside the event store's."""

import json
import os
from pathlib import Path

from eventstore.log.schema import migrate
from eventstore.server import settings
from eventstore.server.databases import ensure_database
from eventstore.server.urls import without_password

_STORAGE_URL = "EVENTSTORE_DAGSTER_URL"

_DAGSTER_YAML = """\
# Written anew by `make up` and `make demo`.
storage:
  postgres:
    postgres_url: {storage_url}

telemetry:
  enabled: false
nux:
  enabled: false  # else a sign-up window covers the page

# A job says how often and how long by tags; these hold for backfills and for "Materialize" in the UI.
run_retries:
  enabled: true
  max_retries: 3
run_monitoring:
  enabled: true
  poll_interval_seconds: 15
  max_runtime_seconds: 21600
  free_slots_after_run_end_seconds: 5

# Every pool (ingest, replay, refresh) has two places of its own: a replay or a long ingestion never keeps
# a refresh waiting.
concurrency:
  pools:
    granularity: op
    default_limit: 2
  runs:
    max_concurrent_runs: 8
run_queue:
  dequeue_interval_seconds: 1

freshness:
  enabled: true

# The sensor looks every five seconds.
retention:
  schedule:
    purge_after_days: {{skipped: 2}}
  sensor:
    purge_after_days: {{skipped: 1}}
"""


def prepare() -> str:
    """Make ready what Dagster needs: both databases, the folders and dagster.yaml. Returns the store's URL.

    Sets DAGSTER_HOME and the like for this process and its children.
    """
    url = settings.database_url()
    dagster_url = settings.dagster_database_url(url)
    ensure_database(url)
    ensure_database(dagster_url)
    migrate.upgrade(url)
    settings.landing().mkdir(parents=True, exist_ok=True)
    os.environ["EVENTSTORE_HOME"] = str(settings.home())
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home())
    os.environ[_STORAGE_URL] = _with_driver(dagster_url)
    _write_dagster_yaml(settings.dagster_home(), dagster_url)
    return url


def _write_dagster_yaml(folder: Path, dagster_url: str) -> None:
    """A URL without a password is written out, so that other Dagster commands need only DAGSTER_HOME."""
    has_password = without_password(dagster_url) != dagster_url
    storage_url = {"env": _STORAGE_URL} if has_password else _with_driver(dagster_url)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(_DAGSTER_YAML.format(storage_url=json.dumps(storage_url)))


def _with_driver(url: str) -> str:
    """SQLAlchemy 2.1 would take psycopg 3 for a plain ``postgresql://``, which dagster-postgres cannot use."""
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)
