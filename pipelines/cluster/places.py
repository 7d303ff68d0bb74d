"""Which runs stay on the host of Dagster: those that touch its folders, unless these are URLs."""

from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun

from eventstore.server import settings

_TAG = "eventstore/runs_on"
_FIRST = {"dagster/priority": "1"}  # in the queue, where others may wait for the cluster
#: On a job that needs what only the host has, such as the private key of the seals.
ON_HOST: Mapping[str, str] = {_TAG: "host", **_FIRST}
#: On a job that reads files: those of the landing folder, or of its configuration.
WHERE_FILES_ARE: Mapping[str, str] = {_TAG: "files", **_FIRST}
_INGESTS, _SEALS = "order_events", "log_seals"  # assets: "Materialize" on their pages starts no job of ours


def stays(run: DagsterRun) -> bool:
    """Whether a run is executed on the host."""
    selected = {key.path[-1] for key in run.asset_selection or ()}
    selected |= {key.asset_key.path[-1] for key in run.asset_check_selection or ()}
    said = run.tags.get(_TAG)
    if said == ON_HOST[_TAG] or _SEALS in selected:
        return True
    if said == WHERE_FILES_ARE[_TAG] or _INGESTS in selected:
        return not _reads_urls(run.run_config)
    return False


def _reads_urls(config: Mapping[str, Any]) -> bool:
    paths = config.get("ops", {}).get(_INGESTS, {}).get("config", {}).get("paths")
    return all("://" in str(each) for each in paths or [settings.machine().landing])
