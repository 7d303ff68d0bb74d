"""Asset checks of one asset: what a person should know about the data although the run succeeded."""

import dagster as dg

from eventstore.engine.invariants.overlapping import overlaps_proof
from eventstore.engine.proofs import proofs_of
from eventstore.engine.prover import budget_of, prove, proven
from eventstore.ingestion.files import NotRead, printable
from eventstore.ingestion.left import left_in
from eventstore.ingestion.rejects import damaged_files
from eventstore.kernel.counted import counted
from eventstore.kernel.verdicts import entry
from eventstore.log.clock import clock as read_clock
from eventstore.log.connection import Connection
from eventstore.log.holders import blocking_holders, in_words, overdue_holders, who
from eventstore.log.settings import policy
from eventstore.orders.counts import count_orders
from eventstore.orders.domain import DOMAIN
from eventstore.server import settings
from pipelines.assets import order_events, order_history, orders
from pipelines.cannot_look import CANNOT_LOOK, why
from pipelines.metadata import ROWS, count_by, failed_files, proofs_table, with_reasons
from pipelines.projection_checks import checks_of
from pipelines.resources import EventStore
from pipelines.runbook import asset_check

_SHOWN = 5

#: The proof that has a check of its own.
OVERLAPS = overlaps_proof(DOMAIN.history).name


@asset_check(order_events)
def rejects(store: EventStore) -> dg.AssetCheckResult:
    """Warns while lines that could not be appended wait for somebody to settle them: by a retry after a fix,
    or by discarding them.
    """
    with store.connect() as connection:
        by_reason = dict(
            connection.execute(
                "SELECT reason, count(*) FROM rejects WHERE resolved_at IS NULL GROUP BY reason"
            ).fetchall()
        )
    return dg.AssetCheckResult(
        passed=not by_reason,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{counted(sum(by_reason.values()), 'line waits', 'lines wait')}: `eventstore rejects` "
            "shows them, "
            "`eventstore rejects retry` tries them again, `eventstore rejects discard` settles what is never "
            "to be appended."
            if by_reason
            else "Every line read so far is in the log, or somebody has settled it."
        ),
        metadata={"rejects_by_reason": count_by("reason", by_reason)},
    )


@asset_check(order_events)
def files_left(store: EventStore) -> dg.AssetCheckResult:
    """Warns of files in the landing folder that were not read: those that have been waiting for longer than
    the setting `max_file_wait`, those that failed, with the time of the next try, damaged ones, names that
    are left alone, and files that were read and cannot be moved. Fails where the folder cannot be looked at.
    """
    with store.connect() as connection:
        return judge_files(connection)


def judge_files(connection: Connection) -> dg.AssetCheckResult:
    """The check `files_left`, also looked at without a run where runs are executed on other machines."""
    longest = policy(connection).max_file_wait.total_seconds()
    damaged = [
        NotRead(printable(file), f"{reason}: {detail}") for file, reason, detail in damaged_files(connection)
    ]
    try:
        left = left_in(connection, settings.landing_place(), DOMAIN.formats, moves=settings.move_files())
    except CANNOT_LOOK as error:
        return dg.AssetCheckResult(
            asset_key=order_events.key,
            check_name="files_left",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"The landing folder cannot be looked at, so nothing in it is read: {why(error)}. "
            f"What to do: {entry('doctor-landing')}",
            metadata={"damaged_files": with_reasons(damaged)},
        )
    return dg.AssetCheckResult(
        asset_key=order_events.key,
        check_name="files_left",
        passed=not (left.late or left.failed or damaged or left.skipped or left.stuck),
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{counted(len(left.late), 'file')} waiting for more than {longest / 60:g} min, "
            f"{len(left.failed):,} failed and "
            f"tried again, {len(damaged):,} damaged, {counted(len(left.skipped), 'name')} left alone, "
            f"{len(left.stuck):,} read and not moved."
        ),
        metadata={
            "files": [printable(file.found.path.name) for file in left.late[:ROWS]],
            "failed_files": failed_files(left.failed),
            "damaged_files": with_reasons(damaged),
            "skipped_names": with_reasons(left.skipped),
            "files_not_moved": with_reasons(
                [NotRead(printable(found.path), why) for found, why in left.stuck]
            ),
        },
    )


@asset_check(orders)
def anomalies(store: EventStore) -> dg.AssetCheckResult:
    """Counts the orders whose events contradict each other; warns when their share is above the setting
    `max_odd_share`.
    """
    with store.connect() as connection:
        share = policy(connection).max_odd_share
        counts = count_orders(connection)
    odd, total = counts["odd"].get("yes", 0), sum(counts["status"].values())
    return dg.AssetCheckResult(
        passed=odd <= total * share,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{odd:,} of {counted(total, 'order is', 'orders are')} odd.",
        metadata={"odd_orders": odd, "anomalies": count_by("anomaly", counts["anomaly"])},
    )


@asset_check(orders)
def unknown_events(store: EventStore) -> dg.AssetCheckResult:
    """Warns of events whose type or payload version this release does not know: they changed nothing."""
    with store.connect() as connection:
        counts = count_orders(connection)["unknown_event"]
    return dg.AssetCheckResult(
        passed=not counts,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            "Install a release that knows them; the next refresh folds exactly these orders again."
            if counts
            else "Every event is of a known type."
        ),
        metadata={"events": count_by("event", counts)},
    )


@asset_check(order_history)
def overlaps(store: EventStore) -> dg.AssetCheckResult:
    """Fails where the history says two things of one order at one moment, as known at one time.

    Each run looks at the next part of it.
    """
    with store.connect() as connection:
        [proof] = [proof for proof in proofs_of(DOMAIN) if proof.name == OVERLAPS]
        found = prove(connection, proof, budget_of(connection, proofs_of(DOMAIN))).findings
        state = proven(connection, proof)
    return dg.AssetCheckResult(
        passed=not found,
        description=(
            f"{counted(len(found), 'order has', 'orders have')} overlapping rows: replay order_history."
            if found
            else "What was looked at says one thing of each moment."
        ),
        metadata={"orders": [finding.subject for finding in found[:100]], "proofs": proofs_table([state])},
    )


@asset_check(order_events)
def proofs(store: EventStore) -> dg.AssetCheckResult:
    """Fails while a row of a read model is known to differ from a fold of the log, and shows how much has
    been proven. The job `integrity` proves some more each night, `integrity_of_everything` all of it.
    """
    with store.connect() as connection:
        states = [proven(connection, proof) for proof in proofs_of(DOMAIN)]
    findings = [f"{state.name}: {each}" for state in states for each in state.first_findings]
    return dg.AssetCheckResult(
        passed=not findings,
        description=". ".join(findings[:_SHOWN]) or "Nothing was found.",
        metadata={"proofs": proofs_table(states)},
    )


@asset_check(order_events)
def holders(store: EventStore) -> dg.AssetCheckResult:
    """Fails while a session keeps readers or writers waiting for longer than the setting `max_hold`, and says
    what ends it; warns of one that keeps a read model or a table for so long while others wait for it.
    """
    with store.connect() as connection:
        return holders_result(connection)


def holders_result(connection: Connection) -> dg.AssetCheckResult:
    """What the check `holders` finds now."""
    overdue, blocking = overdue_holders(connection), blocking_holders(connection)
    sentences = [in_words(holder) for holder in overdue] + [
        f"{who(holder)} keeps {holder.name or holder.kind} from others; if it is not at work, end it: "
        f"SELECT pg_terminate_backend({holder.pid})"
        for holder in blocking
    ]
    return dg.AssetCheckResult(
        asset_key=order_events.key,
        check_name="holders",
        passed=not sentences,
        severity=dg.AssetCheckSeverity.ERROR if overdue else dg.AssetCheckSeverity.WARN,
        description=". ".join(sentences[:_SHOWN]) or "Nobody has kept others waiting for long.",
        metadata={"holders": sentences[:100]},
    )


@asset_check(order_events)
def clock(store: EventStore) -> dg.AssetCheckResult:
    """Warns while the horizon or the newest event is ahead of the database server's clock, and of events that
    wait because their ids lie far ahead of it.
    """
    with store.connect() as connection:
        now = read_clock(connection)
    return dg.AssetCheckResult(
        passed=not now.warnings,
        severity=dg.AssetCheckSeverity.WARN,
        description=". ".join(now.warnings) or "The log is not ahead of the clock.",
        metadata={
            "horizon_ahead_seconds": now.horizon_ahead_seconds,
            "newest_event_ahead_seconds": now.newest_event_ahead_seconds,
            "waiting_events": [
                f"{event.id}: version {event.version} of order {event.order_id}, {event.recorded_at}"
                for event in now.waiting_events
            ],
        },
    )


ALL = [
    rejects,
    holders,
    clock,
    files_left,
    proofs,
    *(check for projection in DOMAIN.projections for check in checks_of(projection)),
    anomalies,
    unknown_events,
    overlaps,
]
