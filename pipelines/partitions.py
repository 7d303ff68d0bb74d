"""How assets are cut into pieces that Dagster can run and retry one by one."""

from datetime import date

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from eventstore.engine.projection import BUCKETS

#: The buckets of the log, each order in one of them: a backfill over all is the full replay.
buckets = dg.StaticPartitionsDefinition([f"{bucket:02d}" for bucket in range(BUCKETS)])

#: Business days (UTC). Earlier days can be built with `build_snapshots` in Python.
FIRST_DAY = date(2016, 1, 1)
days = dg.DailyPartitionsDefinition(start_date=str(FIRST_DAY))


def range_of(first: str, last: str) -> dict[str, str]:
    """The tags of a run over these partitions, both included."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
