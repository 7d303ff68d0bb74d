"""When a table is fresh: its last run is minutes ago, also while nothing happens, as each proves its life.

Runs are skipped while nothing happens. Without a proof of life a quiet log and a schedule that stopped would
look the same. Whether events wait is another question: the check `lag`, which the watch answers.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from eventstore.engine.lateness import interval

#: A table is refreshed this long after its last run, news or not.
PROOF_OF_LIFE = timedelta(minutes=15)

#: Amber when one proof of life is missing, red when three are.
FRESHNESS = dg.FreshnessPolicy.time_window(warn_window=2 * PROOF_OF_LIFE, fail_window=4 * PROOF_OF_LIFE)
#: Of what is made each night: amber when the night before was left out.
NIGHTLY = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=26), fail_window=timedelta(hours=50))


def by_schedule(cron: str) -> dg.FreshnessPolicy:
    """Of what runs each time, news or not: amber when a run was left out, red when three were."""
    every, grace = interval(cron), timedelta(minutes=10)
    return dg.FreshnessPolicy.time_window(warn_window=2 * every + grace, fail_window=4 * every + 2 * grace)


def is_due(instance: dg.DagsterInstance, job: str) -> bool:
    """Whether no run of the job was asked for lately, however that ended: one that fails is not piled up."""
    since = datetime.now(UTC) - PROOF_OF_LIFE
    return not instance.get_run_ids(dg.RunsFilter(job_name=job, created_after=since), limit=1)
