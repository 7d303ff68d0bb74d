"""When a table is late: how long its events may wait, and how long ago its last run may be.

The one judge of that, for `eventstore status` and for the checks of Dagster alike.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from croniter import croniter

from eventstore.engine.domain import Domain
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.status import ConsumerStatus, ProjectionStatus
from eventstore.kernel.counted import counted, lasting
from eventstore.kernel.verdicts import Level, Verdict
from eventstore.log.settings import Policy

#: When the states are refreshed, and when the other projections are.
EVERY_MINUTE, EVERY_FIVE_MINUTES = "* * * * *", "*/5 * * * *"
#: What is behind by so many times what is allowed fails.
_FAILS_AFTER = 5


def schedule_of(domain: Domain[Any], name: str) -> str:
    """When a projection or a derived table is refreshed, as cron writes it."""
    schedules = {derived.name: derived.schedule for derived in domain.derived}
    return EVERY_MINUTE if name == domain.states.name else schedules.get(name, EVERY_FIVE_MINUTES)


def interval(cron: str) -> timedelta:
    """How often a schedule comes round."""
    times = croniter(cron, datetime.now(UTC), ret_type=datetime)
    return -(next(times) - next(times))


def allowed_lag(domain: Domain[Any], name: str, limits: Policy) -> timedelta:
    """For how long events may wait for a read model: until its next run at least, but for the snapshots."""
    if name == SNAPSHOTS:
        return limits.max_snapshot_lag
    is_derived = name in (derived.name for derived in domain.derived)
    return interval(schedule_of(domain, name)) + (limits.max_derived_lag if is_derived else limits.max_lag)


def judge_lag(
    domain: Domain[Any],
    name: str,
    found: ProjectionStatus,
    limits: Policy,
    *,
    age: timedelta | None = None,
    append_open: bool = False,
) -> Verdict:
    """Whether events wait for a read model for too long, or its last run is too long ago.

    ``age`` is the time since the last run that succeeded; None where nothing runs by the clock, or never did.
    ``append_open``: whether events may wait for an append that is open.
    """
    if found.ahead_of_log:
        return Verdict(
            code="ahead-of-log",
            level="fail",
            subject=name,
            sentence="holds events that the log lacks, as after a restore: nothing is folded onto it",
            next="eventstore rebuild",
        )
    allowed, late = allowed_lag(domain, name, limits), timedelta(seconds=found.lag_seconds)
    code = "never-refreshed" if found.updated_at is None else "lag"
    level: Level = "ok"
    sentence, next_ = behind(found), None
    if late > allowed:
        level = "fail" if late > _FAILS_AFTER * allowed else "warn"
        sentence += ": an open append may hold it back" if append_open else ": nobody refreshes it"
        next_ = (
            "commit the open appends; the job end_holders ends old ones"
            if append_open
            else "eventstore refresh"
        )
    elif age is not None and age > _longest_age(domain, name, limits):
        level = "warn"
        sentence += f"; the last run that succeeded was {lasting(age)} ago"
        next_ = "see in Dagster why its last runs failed"
    elif found.updated_at is None:
        next_ = "eventstore refresh" if found.lag_events else None
    else:
        sentence += f", refreshed {lasting(datetime.now(UTC) - found.updated_at)} ago"
    never = "has never been refreshed; " if found.updated_at is None else ""
    return Verdict(code=code, level=level, subject=name, sentence=f"{never}{sentence}", next=next_)


def behind(follower: ProjectionStatus | ConsumerStatus) -> str:
    """How far a follower of the log is behind it, in words."""
    if not follower.lag_events:
        return "up to date"
    many = f"{counted(follower.lag_events, 'event')}{' or more' if follower.lag_or_more else ''}"
    return f"{many} behind, the oldest for {lasting(timedelta(seconds=follower.lag_seconds))}"


def _longest_age(domain: Domain[Any], name: str, limits: Policy) -> timedelta:
    if name == SNAPSHOTS:
        return max(limits.max_age, limits.max_snapshot_lag)
    return max(limits.max_age, 2 * interval(schedule_of(domain, name)))
