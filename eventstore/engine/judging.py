"""What the engine judges: the log and who holds it, each table and consumer that follows it, its rules.

From facts that are cheap on any log: a status takes no longer where the log is long.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from eventstore.engine.domain import Domain
from eventstore.engine.follow import follower
from eventstore.engine.lateness import behind, judge_lag
from eventstore.engine.quarantine import read_quarantine
from eventstore.engine.rules_verdicts import judge_rules
from eventstore.engine.snapshots.row_per_day import SNAPSHOTS
from eventstore.engine.status import Status
from eventstore.kernel.counted import counted
from eventstore.kernel.moments import moment
from eventstore.kernel.shown import printable
from eventstore.kernel.verdicts import Verdict
from eventstore.log.connection import Connection
from eventstore.log.holders import Holder, blocking_holders, what, who
from eventstore.log.settings import policy


def judge_store(
    connection: Connection, domain: Domain[Any], status: Status, ages: Mapping[str, timedelta]
) -> list[Verdict]:
    """A verdict for each thing that a person on duty is answerable for.

    ``ages``: how long ago each table's last run succeeded, of those that run by the clock.
    """
    return [
        _log(status),
        *_holders(connection, status),
        *_clock(status),
        *judge_rules(connection, domain),
        *_rebuild(status),
        *_tables(connection, domain, status, ages),
        _quarantine(connection, domain),
        *_consumers(connection, status),
    ]


def _log(status: Status) -> Verdict:
    about = "" if status.events_exact else "about "
    shown = status.horizon > datetime.fromtimestamp(0, UTC)  # somebody has read already
    until = f"; readers are shown all up to {moment(status.horizon)}" if shown else ""
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
            sentence=f"began {moment(status.rebuild.began_at)}, and is at work or was stopped; "
            f"left: {', '.join(status.rebuild.left) or 'the last refresh'}",
            next="eventstore rebuild",
        )


def _tables(
    connection: Connection, domain: Domain[Any], status: Status, ages: Mapping[str, timedelta]
) -> Iterator[Verdict]:
    limits = policy(connection)
    for name, table in status.projections.items():
        append_open = bool(status.horizon_holders)
        yield judge_lag(domain, name, table, limits, age=ages.get(name), append_open=append_open)
    if follows := follower(connection):
        since = f" since {moment(follows.since)}" if follows.since else ""
        yield Verdict(
            code="follower", level="ok", subject="follower", sentence=f"runs{since} (pid {follows.pid})"
        )


def _quarantine(connection: Connection, domain: Domain[Any]) -> Verdict:
    tables = [*(projection.name for projection in domain.projections), SNAPSHOTS]
    found = read_quarantine(connection, tables, 1)
    if not found.orders:
        return Verdict(
            code="quarantine", level="ok", subject="quarantine", sentence="every event can be folded"
        )
    since = f", the first since {moment(found.since)}" if found.since else ""
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
            sentence=f"consumer, {behind(consumer)}{nobody if is_late else ''}",
            next=f"start it, or `eventstore consumers delete {printable(name)}`" if is_late else None,
        )
