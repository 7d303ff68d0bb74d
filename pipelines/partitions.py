"""How assets are cut into pieces that Dagster can run and retry one by one."""

import dagster as dg

from eventstore.engine.projection import BUCKETS

#: The buckets of the log, each order in one of them: a backfill over all is the full replay.
buckets = dg.StaticPartitionsDefinition([f"{bucket:02d}" for bucket in range(BUCKETS)])

#: Business days (UTC). Earlier days can be built with `build_snapshots` in Python.
days = dg.DailyPartitionsDefinition(start_date="2016-01-01")
