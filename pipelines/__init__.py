"""The Dagster code location: thin assets, checks, jobs, schedules and a sensor over `eventstore`.

Whatever a run does is one call of a function in `eventstore`, which works, and is tested, without Dagster.
"""

import warnings

from dagster import BetaWarning

# Dagster is pinned to one release: that backfill policies may change in the next is no news to every process.
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy")
