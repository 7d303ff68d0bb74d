"""How assets are cut into pieces that Dagster can run and retry one by one."""

from datetime import date

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from eventstore.kernel.buckets import label
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import Connection
from eventstore.server import settings

#: As the setting says it: what Dagster loads asks no database.
BUCKETS = settings.buckets()
#: The buckets of the log, each order in one of them: a backfill over all is the full replay.
buckets = dg.StaticPartitionsDefinition([label(bucket, BUCKETS) for bucket in range(BUCKETS)])


def refuse_other_buckets(connection: Connection) -> None:
    """Fail, for good and in one line, where the log has more or fewer buckets than Dagster has partitions."""
    if (number := buckets_of(connection)) != BUCKETS:
        raise dg.Failure(
            f"the log has {number} buckets, and Dagster's partitions were made for {BUCKETS}: "
            f"{settings.how_to_say_buckets(number)}, and start Dagster again (or reload its code location)",
            allow_retries=False,
        )


#: Business days (UTC). Earlier days can be built with `build_snapshots` in Python.
FIRST_DAY = date(2016, 1, 1)
days = dg.DailyPartitionsDefinition(start_date=str(FIRST_DAY))


def range_of(first: str, last: str) -> dict[str, str]:
    """The tags of a run over these partitions, both included."""
    return {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last}
