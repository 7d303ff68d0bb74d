"""The audit trail: `log_seals`, its checks, and the verification of a part of the log a night, in turn."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from eventstore.engine.standing import Lag, count_after
from eventstore.face.guarding import unsealed_for_long
from eventstore.kernel.counted import counted
from eventstore.log.connection import Connection
from eventstore.log.feed import has_events_after
from eventstore.log.settings import policy
from eventstore.seals.errors import SealError
from eventstore.seals.outside import outside
from eventstore.seals.problems import Problem
from eventstore.seals.proving import sealed_checkpoint
from eventstore.seals.sealing import seal, sealed_until
from eventstore.seals.share import Round, verify_share
from eventstore.seals.status import seal_status
from eventstore.seals.verifying import ALTERED, INTACT, Verified
from pipelines.assets import order_events
from pipelines.cannot_look import CANNOT_LOOK, why
from pipelines.catalogue import about, owners
from pipelines.cluster.places import ON_HOST
from pipelines.freshness import FRESHNESS, is_due
from pipelines.metadata import ROWS, numbers, table
from pipelines.projections import tags
from pipelines.resources import EventStore
from pipelines.runbook import asset_check
from pipelines.telling import told

_HOUR = 3600
_SHOWN = 5


@dg.asset(
    group_name="log",
    kinds={"python", "postgres"},
    owners=owners(),
    metadata=about("seal_checkpoints", "docs/seals.md", "docs/auditing.md"),
    deps=[order_events],
    freshness_policy=FRESHNESS,
    pool="seals",
)
def log_seals(context: dg.AssetExecutionContext, store: EventStore) -> dg.MaterializeResult[None]:
    """What proves that the log is as it was recorded: Merkle trees over all events, and signed checkpoints.

    A run seals the events since the last checkpoint, writes a new one to the table `seal_checkpoints` and to
    the folder `checkpoints` in EVENTSTORE_HOME, and has it time stamped where an authority is configured.
    Keep a copy of that folder where the administrators of the database cannot write: see docs/seals.md.
    """
    with store.connect() as connection:
        started = time.monotonic()
        try:
            left = partial(_unsealed, connection)
            done = seal(connection, outside(), on_progress=told(context, "sealing", left))
        except SealError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        for warning in done.warnings:
            context.log.warning(warning)
        seconds = time.monotonic() - started
        now = seal_status(connection)
        context.log.info(
            f"{counted(done.events, 'event')} sealed, {done.size:,} in all, by checkpoint {done.checkpoint}"
        )
        return dg.MaterializeResult(
            metadata={
                **numbers(
                    events=done.events, seconds=seconds, lag=Lag(now.unsealed, round(now.unsealed_seconds, 1))
                ),
                "size": done.size,
                "checkpoint": done.checkpoint,
                "sealed_at": _time(done.sealed_at),
                "age_seconds": _age(done.sealed_at),
                "horizon": str(done.horizon),
                "public_key": done.key or "",
                "stamped_at": _time(done.stamped_at),
                "roots": _roots(connection),
                **table(connection, "seal_checkpoints"),
                **_verification(now.verification, done.size),
            }
        )


@asset_check(log_seals)
def sealed_in_time(store: EventStore) -> dg.AssetCheckResult:
    """Warns while events have been waiting for their seal for longer than the setting `max_unsealed`.

    Until they are sealed, whoever owns the database can change them unnoticed.
    """
    with store.connect() as connection:
        now = seal_status(connection)
        late = unsealed_for_long(now, policy(connection))
    return dg.AssetCheckResult(
        passed=not late,
        severity=dg.AssetCheckSeverity.WARN,
        description=(
            f"{counted(now.unsealed, 'event is', 'events are')} not sealed, the oldest for "
            f"{now.unsealed_seconds / 60:,.0f} min. "
            "Look at the last runs of log_seals, and whether an append is held open."
            if late
            else f"{counted(now.unsealed, 'event waits', 'events wait')} for the next checkpoint."
        ),
        metadata={"unsealed": now.unsealed, "unsealed_seconds": now.unsealed_seconds},
    )


@asset_check(log_seals, pool="seals_verification")
def intact(store: EventStore) -> dg.AssetCheckResult:
    """Fails where an event is not as it was sealed, and names it. Takes a part of the log a night, in turn:
    as many events as the setting `verify_events` says, and once more whatever failed before.
    """
    with store.connect() as connection:
        try:
            found, walk = verify_share(connection, outside())
        except CANNOT_LOOK as error:
            return dg.AssetCheckResult(
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"It cannot be told: {why(error)}. Mend that, then run the job verify_seals.",
            )
    return dg.AssetCheckResult(
        passed=found.verdict == INTACT,
        severity=dg.AssetCheckSeverity.ERROR if found.verdict == ALTERED else dg.AssetCheckSeverity.WARN,
        description=_in_words(found, walk),
        metadata={
            "verified": found.verified,
            "sealed": found.sealed,
            "problems": _problems(found.problems),
            "problem_count": found.problem_count,
            "doubts": found.doubts,
            "declared_epochs": found.epochs,
            **_verification(walk, found.sealed),
        },
    )


_nightly = dg.AssetSelection.checks(intact)

seal_log = dg.define_asset_job(
    "seal_log",
    selection=dg.AssetSelection.assets(log_seals) - _nightly,
    description="Seal the events since the last checkpoint.",
    tags={**tags(6 * _HOUR), **ON_HOST},
    executor_def=dg.in_process_executor,
)
verify_seals = dg.define_asset_job(
    "verify_seals",
    selection=_nightly,
    description="Verify the part of the log whose turn it is against its seals.",
    tags={**tags(6 * _HOUR), **ON_HOST},
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    name="log_seals_every_five_minutes",
    job=seal_log,
    cron_schedule="*/5 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Seals the log where there are new events; and 15 minutes after the last run in any case, as "
    "proof of life.",
)
def log_seals_every_five_minutes(
    context: dg.ScheduleEvaluationContext, store: EventStore
) -> dg.RunRequest | dg.SkipReason:
    with store.connect() as connection:
        if has_events_after(connection, sealed_until(connection)):
            return dg.RunRequest()
    if is_due(context.instance, seal_log.name):
        return dg.RunRequest()
    return dg.SkipReason("Every event is sealed.")


verify_seals_every_night = dg.ScheduleDefinition(
    name="verify_seals_every_night",
    job=verify_seals,
    cron_schedule="30 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Verifies the part of the log whose turn it is against its seals.",
)

ASSETS = [log_seals]
CHECKS = [sealed_in_time, intact]
JOBS = [seal_log, verify_seals]
SCHEDULES = [log_seals_every_five_minutes, verify_seals_every_night]


def _in_words(found: Verified, walk: Round) -> str:
    if found.verdict == ALTERED:
        named = "; ".join(
            f"{problem.kind} {problem.id or ''} {_of_order(problem)}{problem.detail}"
            for problem in found.problems[:_SHOWN]
        )
        more = f"; {found.problem_count - _SHOWN} more" if found.problem_count > _SHOWN else ""
        return (
            f"The log is not as it was sealed: {named}{more}. Keep the database as it is, run `eventstore "
            "verify`, compare with a backup, and find out who was connected: docs/seals.md."
        )
    if found.doubts:
        return f"It cannot be told: {'; '.join(found.doubts)}."
    if walk.all_done_at and walk.begun_at is None:
        one, several = (
            "The 1 sealed event is as it was",
            f"All {found.sealed:,} sealed events are as they were",
        )
        return f"{one if found.sealed == 1 else several} sealed."
    as_sealed = counted(found.verified, "event is as it was", "events are as they were")
    return f"{as_sealed} sealed, {walk.events:,} of {found.sealed:,} this round."


def _of_order(problem: Problem) -> str:
    return f"(version {problem.version} of order {problem.order_id}) " if problem.order_id else ""


def _verification(walk: Round, sealed: int) -> dict[str, str | int | float]:
    """How much was verified, and since when."""
    return {
        "verified_in_this_round": walk.events,
        "share_verified": round(walk.events / sealed, 4) if walk.begun_at and sealed else 0.0,
        "round_begun_at": _time(walk.begun_at),
        "all_verified_at": _time(walk.all_done_at),
        "all_verified_by": _time(walk.all_done_by),
        "failing_parts": walk.failing,
    }


def _roots(connection: Connection) -> dg.TableMetadataValue:
    """The heads of the newest checkpoint."""
    try:
        heads = sealed_checkpoint(connection).checkpoint.heads
    except SealError:  # nothing is sealed yet
        heads = ()
    return dg.MetadataValue.table(
        [
            dg.TableRecord({"bucket": bucket, "size": head.size, "root": head.root.hex()})
            for bucket, head in enumerate(heads)
        ],
        schema=dg.TableSchema(
            [dg.TableColumn("bucket", "int"), dg.TableColumn("size", "int"), dg.TableColumn("root", "string")]
        ),
    )


def _problems(problems: Sequence[Problem]) -> dg.TableMetadataValue:
    """The first of them."""
    columns = ("kind", "id", "order_id", "version", "detail")
    return dg.MetadataValue.table(
        [
            dg.TableRecord({name: str(getattr(problem, name) or "") for name in columns})
            for problem in problems[:ROWS]
        ],
        schema=dg.TableSchema([dg.TableColumn(name, "string") for name in columns]),
    )


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else ""


def _age(at: datetime | None) -> float:
    return (datetime.now(UTC) - at).total_seconds() if at else 0.0


def _unsealed(connection: Connection) -> int:
    return count_after(connection, sealed_until(connection))
