"""What the engine judges: the log and who holds it, each table and consumer that follows it, its rules.

From facts that are cheap on any log: a status takes no longer where the log is long.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from eventstore.engine.domain import Domain
from eventstore.engine.follow import follower
from eventstore.engine.quarantine import read_quarantine
from eventstore.engine.rules_verdicts import judge_rules
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.status import ConsumerStatus, ProjectionStatus, Status
from eventstore.kernel.counted import counted, lasting
from eventstore.kernel.shown import printable
from eventstore.kernel.verdicts import Level, Verdict
from eventstore.log.connection import Connection
from eventstore.log.holders import Holder, blocking_holders, what, who
from eventstore.log.settings import policy

#: How long after an event the schedules refresh a table, where no follower runs; `max_lag` comes on top.
_BY_SCHEDULE = timedelta(minutes=5)
_DERIVED_BY_SCHEDULE = timedelta(minutes=10)
_SNAPSHOTS_BY_SCHEDULE = timedelta(hours=26)
#: What is behind by so many times what is allowed fails.
_FAILS_AFTER = 5


def judge_store(connection: Connection, domain: Domain[Any], status: Status) -> list[Verdict]:
    """A verdict for each thing that a person on duty is answerable for."""
    return [
        _log(status),
        *_holders(connection, status),
        *_clock(status),
        *judge_rules(connection, domain),
        *_rebuild(status),
        *_tables(connection, domain, status),
        _quarantine(connection, domain),
        *_consumers(connection, status),
    ]


def _log(status: Status) -> Verdict:
    about = "" if status.events_exact else "about "
    until = f"; readers are shown all up to {status.horizon:%Y-%m-%d %H:%M:%S} UTC" if status.events else ""
    return Verdict(
        code="log", level="ok", subject="log", sentence=f"{about}{counted(status.events, 'event')}{until}"
    )


def _holders(connection: Connection, status: Status) -> Iterator[Verdict]:
    overdue = {holder.pid for holder in status.overdue_holders}
    for late in status.overdue_holders:
        yield Verdict(
            code="holder-overdue",
            level="fail",
            subject="holders",
            sentence=f"{who(late)} {what(late)}",
            next=late.remedy,
        )
    blocking = blocking_holders(connection) if any(each.waiting_for for each in status.holders) else []
    for holder in blocking:
        yield Verdict(
            code="holder-blocking",
            level="warn",
            subject="holders",
            sentence=f"{who(holder)} keeps {holder.name or holder.kind} from others; it may be at work",
            next=f"SELECT pg_terminate_backend({holder.pid})",
        )
    named = overdue | {holder.pid for holder in blocking}
    for other in status.holders:
        if other.pid not in named:
            yield Verdict(code="holder", level="ok", subject="holders", sentence=_held(other))


def _held(holder: Holder) -> str:
    if holder.kind == "append":
        return f"an append is open: {who(holder)}"
    what = f"{holder.kind} {holder.name}" if holder.name else holder.kind
    others = ", ".join(str(pid) if pid else "a prepared transaction" for pid in holder.waiting_for)
    waits = f", waits for pid {others}" if others else ""
    return f"{what} {'held' if holder.granted else 'awaited'} by {who(holder)}{waits}"


def _clock(status: Status) -> Iterator[Verdict]:
    for warning in status.clock.warnings:
        yield Verdict(code="clock", level="warn", subject="clock", sentence=warning)


def _rebuild(status: Status) -> Iterator[Verdict]:
    if status.rebuild is not None:
        yield Verdict(
            code="rebuild-unfinished",
            level="warn",
            subject="rebuild",
            sentence=f"began {status.rebuild.began_at:%Y-%m-%d %H:%M} UTC, and is at work or was stopped; "
            f"left: {', '.join(status.rebuild.left) or 'the last refresh'}",
            next="eventstore rebuild",
        )


def _tables(connection: Connection, domain: Domain[Any], status: Status) -> Iterator[Verdict]:
    follows = follower(connection)
    grace = policy(connection).max_lag
    derived = {each.name for each in domain.derived}
    for name, table in status.projections.items():
        schedule = _BY_SCHEDULE
        if name == domain.states.name:
            schedule = timedelta()
        elif name == SNAPSHOTS:
            schedule = _SNAPSHOTS_BY_SCHEDULE
        elif name in derived:
            schedule = _DERIVED_BY_SCHEDULE
        yield _table(name, table, grace + schedule)
    if follows:
        since = f" since {follows.since:%Y-%m-%d %H:%M:%S} UTC" if follows.since else ""
        yield Verdict(
            code="follower", level="ok", subject="follower", sentence=f"runs{since} (pid {follows.pid})"
        )


def _table(name: str, table: ProjectionStatus, allowed: timedelta) -> Verdict:
    if table.ahead_of_log:
        return Verdict(
            code="ahead-of-log",
            level="fail",
            subject=name,
            sentence="holds events that the log lacks, as after a restore: nothing is folded onto it",
            next="eventstore rebuild",
        )
    if table.updated_at is None:
        level: Level = "warn" if table.lag_events else "ok"
        return Verdict(
            code="never-refreshed",
            level=level,
            subject=name,
            sentence=f"has never been refreshed; {_behind(table)}",
            next="eventstore refresh" if table.lag_events else None,
        )
    late = timedelta(seconds=table.lag_seconds)
    if late <= allowed:
        ago = lasting(datetime.now(UTC) - table.updated_at)
        behind = f"{_behind(table)}, " if table.lag_events else "up to date, "
        return Verdict(code="lag", level="ok", subject=name, sentence=f"{behind}refreshed {ago} ago")
    return Verdict(
        code="lag",
        level="fail" if late > _FAILS_AFTER * allowed else "warn",
        subject=name,
        sentence=f"{_behind(table)}: nobody refreshes it, or an open append holds it back",
        next="eventstore refresh",
    )


def _quarantine(connection: Connection, domain: Domain[Any]) -> Verdict:
    tables = [*(projection.name for projection in domain.projections), SNAPSHOTS]
    found = read_quarantine(connection, tables, 1)
    if not found.orders:
        return Verdict(
            code="quarantine", level="ok", subject="quarantine", sentence="every event can be folded"
        )
    since = f", the first since {found.since:%Y-%m-%d %H:%M} UTC" if found.since else ""
    shows = "shows" if found.orders == 1 else "show"
    return Verdict(
        code="quarantine",
        level="fail",
        subject="quarantine",
        sentence=f"{counted(found.orders, 'order')} {shows} only the events before one that the rules fail "
        f"on{since}",
        next="eventstore quarantine",
    )


def _consumers(connection: Connection, status: Status) -> Iterator[Verdict]:
    allowed = policy(connection).max_lag.total_seconds() if status.consumers else 0.0
    for name, consumer in status.consumers.items():
        is_late = consumer.lag_seconds > allowed
        nobody = "" if consumer.followed_by else ": nobody follows under this name"
        yield Verdict(
            code="consumer",
            level="warn" if is_late else "ok",
            subject=name,
            sentence=f"consumer, {_behind(consumer)}{nobody if is_late else ''}",
            next=f"start it, or `eventstore consumers delete {printable(name)}`" if is_late else None,
        )


def _behind(follower: ProjectionStatus | ConsumerStatus) -> str:
    if not follower.lag_events:
        return "up to date"
    many = f"{counted(follower.lag_events, 'event')}{' or more' if follower.lag_or_more else ''}"
    return f"{many} behind, the oldest for {lasting(timedelta(seconds=follower.lag_seconds))}"
