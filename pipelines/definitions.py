"""All that Dagster loads. Loading opens no connection: the database is asked for by runs and ticks only."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pipelines import (
    alerts,
    assets,
    backups,
    checks,
    derived,
    jobs,
    retention,
    seals,
    sensors,
    watch,
)
from pipelines.resources import EventStore


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The code location; tests pass ``{"store": EventStore(url=…)}``."""
    return dg.Definitions(
        assets=[*assets.ALL, *derived.ALL, *seals.ASSETS],
        asset_checks=[*checks.ALL, *derived.CHECKS, *seals.CHECKS, *watch.CHECKS, *alerts.CHECKS],
        jobs=[*jobs.ALL, *seals.JOBS, backups.backup, *retention.JOBS],
        schedules=watch.SCHEDULES,
        sensors=[*sensors.ALL, *watch.ALL, *alerts.ALL],
        resources={"store": EventStore(), **(resource_overrides or {})},
        # Also for backfills and for "Materialize" in the UI: a process per step would cost 2 to 5 s each.
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_defs()
