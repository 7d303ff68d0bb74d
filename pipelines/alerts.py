"""Tells people, by webhook and mail, of failed runs, failed checks and late tables, and when that is over."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import msgspec
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from eventstore.alerts.channels import Channel, channels, send_in_time
from eventstore.alerts.errors import NotDeliveredError
from eventstore.alerts.message import clean
from eventstore.alerts.outbox import Waiting, add, delivered, failed, is_due
from eventstore.alerts.problems import Good, Known, Problem, observe
from eventstore.kernel.verdicts import entry
from eventstore.log.settings import policy
from eventstore.server import settings
from pipelines.assets import order_events
from pipelines.cannot_look import CANNOT_LOOK, why
from pipelines.resources import EventStore
from pipelines.runbook import asset_check
from pipelines.watch import switched_off, write_if_news

NAME = "alerts"
#: Runs are looked for again so far back: their times are set by the clocks of several processes.
_OVERLAP_S = 300
#: A retry that was promised comes within this, else the failure is told.
_RETRY_S = 300
_PAGE = 500
#: After a longer time without a tick, what ended before is not told any more.
_LONGEST_S = 7 * 86_400
_STARTED_BY_DAGSTER = "__ASSET_JOB"


class State(msgspec.Struct, kw_only=True):
    """The cursor of the sensor: Dagster keeps it over restarts."""

    runs_until: float  #: runs that ended before were looked at
    runs_seen: list[str] = msgspec.field(default_factory=list)  #: of the time that is looked at again
    awaiting_retry: dict[str, float] = msgspec.field(default_factory=dict)  #: failed runs, and since when
    known: dict[str, Known] = msgspec.field(default_factory=dict)
    waiting: dict[str, Waiting] = msgspec.field(default_factory=dict)  #: by channel


@dg.sensor(
    name=NAME,
    minimum_interval_seconds=25,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of failed runs, failed checks and late tables by webhook and mail, as the settings of "
    "this machine say: docs/alerts.md. Starts no run.",
)
def alerts(context: dg.SensorEvaluationContext, store: EventStore) -> Iterator[dg.SkipReason]:
    ways = channels()
    if not ways:
        yield dg.SkipReason("No alerts: neither ALERT_WEBHOOK_URL nor alert_mail_to is set (docs/alerts.md).")
        return
    repository = context.repository_def
    assert repository is not None, "Dagster gives it to every tick"
    warnings = _wants_warnings(store)
    graph = repository.asset_graph
    runbook = {
        key: str(graph.get_check_spec(key).metadata.get("runbook", ""))
        for key in sorted(graph.asset_check_keys, key=str)
    }
    now = clock()
    state = read_state(context.cursor, now)
    seen = [*_runs(context.instance, state, now), *_checks(context.instance, runbook, warnings)]
    items = observe(state.known, [*seen, _watch(context.instance)], now)
    state.waiting = {way.name: state.waiting.get(way.name, Waiting()) for way in ways}
    for waiting in state.waiting.values():
        add(waiting, items)
    said = [each for each in (deliver(way, state.waiting[way.name], now) for way in ways) if each]
    context.update_cursor(msgspec.json.encode(state).decode())
    write_if_news(context.instance, judge_delivery(state), datetime.now(UTC))
    yield dg.SkipReason(" ".join(said) or "Nothing to tell.")


def _wants_warnings(store: EventStore) -> bool:
    """As the store says; while its database is away people are told all the more."""
    try:
        with store.connect() as connection:
            return policy(connection).alert_warnings
    except dg.Failure:
        return True


def clock() -> float:
    return time.time()


def read_state(cursor: str | None, now: float) -> State:
    """What was told. A cursor that somebody reset, or that another release wrote, is as good as none."""
    try:
        return msgspec.json.decode(cursor or "", type=State)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return State(runs_until=now)


def deliver(way: Channel, waiting: Waiting, now: float) -> str:
    """Send what waits, in one message, where it is due; what does not arrive waits on. Says what it did."""
    if not is_due(waiting, now):
        return f"{way.name}: {len(waiting.items)} wait ({waiting.error})." if waiting.items else ""
    number = len(waiting.items)
    try:
        send_in_time(way, waiting.items)
    except Exception as error:  # whatever it is: what the other channel was told must be noted
        said = str(error) if isinstance(error, NotDeliveredError) else f"unexpected: {type(error).__name__}"
        failed(waiting, said, now)
        return f"{way.name}: {number} wait ({said})."
    delivered(waiting)
    return f"{way.name}: {number} told."


def judge_delivery(state: State) -> dg.AssetCheckResult:
    """The check `alerts`: whether what is to be told arrives."""
    stuck = {name: waiting for name, waiting in state.waiting.items() if waiting.error}
    return dg.AssetCheckResult(
        asset_key=order_events.key,
        check_name=NAME,
        passed=not stuck,
        severity=dg.AssetCheckSeverity.WARN,
        description=" ".join(
            f"{name}: {len(waiting.items)} alerts wait after {waiting.tries} tries: {waiting.error}."
            for name, waiting in stuck.items()
        )
        or f"Alerts go out by {' and '.join(state.waiting) or 'no way: none is configured'}.",
    )


def _watch(instance: dg.DagsterInstance) -> Problem | Good:
    """The watch cannot say that it is off itself."""
    if "watch" not in switched_off(instance):
        return Good("sensor:watch")
    return Problem(
        key="sensor:watch",
        kind="stale",
        severity="error",
        title="sensor watch",
        text="It is switched off: nobody looks whether tables are late. Switch it on on the page Automation.",
        link=link("automation"),
        runbook=entry("alert-watch"),
    )


def _checks(
    instance: dg.DagsterInstance, runbook: dict[dg.AssetCheckKey, str], warnings: bool
) -> Iterator[Problem | Good]:
    """How each check of the code location stands; ``runbook`` says where to read what to do."""
    storage = instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(list(runbook))
    for key in runbook:
        record: AssetCheckExecutionRecord | None = latest.get(key)
        if record and record.status not in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES:
            # A run is about to evaluate it, or never did: what it said before still holds.
            before = storage.get_asset_check_execution_history(
                key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
            )
            record = before[0] if before else None
        if not (record and record.event and record.event.dagster_event):
            continue
        found = record.event.dagster_event.asset_check_evaluation_data
        is_error = found.severity == dg.AssetCheckSeverity.ERROR
        asset, name = key.asset_key.to_user_string(), key.name
        if found.passed or not (is_error or warnings):
            yield Good(f"check:{asset}.{name}")
            continue
        yield Problem(
            key=f"check:{asset}.{name}",
            kind="stale" if name == "lag" else "check",
            severity="error" if is_error else "warning",
            title=f"{asset}.{name}",
            text=clean(found.description or "The check failed."),
            link=link(f"assets/{'/'.join(key.asset_key.path)}?view=checks"),
            runbook=runbook.get(key, ""),
        )


def _runs(instance: dg.DagsterInstance, state: State, now: float) -> Iterator[Problem | Good]:
    """What became of the runs that ended since the last tick, in the order in which they ended."""
    yield from _without_retry(instance, state, now)
    ended = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
        updated_after=datetime.fromtimestamp(max(state.runs_until, now - _LONGEST_S) - _OVERLAP_S, UTC),
    )
    records: list[Any] = []
    cursor: str | None = None
    while page := instance.get_run_records(ended, limit=_PAGE, cursor=cursor):
        records += page
        cursor = page[-1].dagster_run.run_id
        if len(page) < _PAGE:
            break
    seen = set(state.runs_seen)
    for record in sorted(records, key=lambda each: each.end_time or 0):
        run = record.dagster_run
        if run.run_id in seen:
            continue
        if run.status == dg.DagsterRunStatus.SUCCESS:
            yield Good(_run_key(run))
        elif _will_retry(run):
            state.awaiting_retry[run.run_id] = now
        else:
            yield _run_problem(instance, run)
    state.runs_seen = [record.dagster_run.run_id for record in records]
    state.runs_until = now


def _without_retry(instance: dg.DagsterInstance, state: State, now: float) -> Iterator[Problem | Good]:
    """Failed runs whose retry was promised and did not come."""
    for run_id, since in list(state.awaiting_retry.items()):
        run = instance.get_run_by_id(run_id)
        if run is None or AUTO_RETRY_RUN_ID_TAG in run.tags:
            del state.awaiting_retry[run_id]  # the retry speaks for itself
        elif not _will_retry(run) or now - since > _RETRY_S:
            del state.awaiting_retry[run_id]
            yield _run_problem(instance, run)


def _will_retry(run: dg.DagsterRun) -> bool:
    return run.tags.get(WILL_RETRY_TAG) == "true" and AUTO_RETRY_RUN_ID_TAG not in run.tags


def _run_key(run: dg.DagsterRun) -> str:
    """The same for runs of which a later one makes good what an earlier one did not."""
    return f"run:{_name_of(run)}"


def _name_of(run: dg.DagsterRun) -> str:
    tags = run.tags
    what = run.job_name
    if what == _STARTED_BY_DAGSTER:
        chosen = sorted(key.to_user_string() for key in run.asset_selection or ())
        checks = sorted(key.to_user_string() for key in run.asset_check_selection or ())
        what = f"materialize {', '.join(chosen or checks)}"
    span = tags.get("dagster/asset_partition_range_start"), tags.get("dagster/asset_partition_range_end")
    partition = tags.get("dagster/partition") or (f"{span[0]}..{span[1]}" if all(span) else "")
    return f"{what} [{partition}]" if partition else what


def _run_problem(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Problem:
    return Problem(
        key=_run_key(run),
        kind="run",
        severity="error",
        title=f"run of {_name_of(run)}",
        text=clean(_reason(instance, run)),
        link=link(f"runs/{run.run_id}"),
        runbook=entry("alert-run"),
    )


def _reason(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The first error of a step, else what the run says of its end."""
    wanted = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    records = instance.get_records_for_run(run.run_id, of_type=wanted, limit=1).records
    event = records[0].event_log_entry.dagster_event if records else None
    if event is None:
        return "It failed."
    if event.event_type == dg.DagsterEventType.STEP_FAILURE:
        data = event.step_failure_data
        if data.user_failure_data and data.user_failure_data.description:
            return f"{event.step_key}: {data.user_failure_data.description}"
        error = data.error
        while error and error.cause:
            error = error.cause
        return f"{event.step_key}: {error.message if error else 'it failed'}"
    return event.message or "It failed."


def link(path: str) -> str:
    """To a page of Dagster's, where others reach it."""
    base = settings.machine().web_url or f"http://127.0.0.1:{settings.port()}"
    return f"{base.rstrip('/')}/{path}"


@asset_check(order_events, name=NAME)
def alerts_check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Warns while alerts that should go out by webhook or mail do not arrive."""
    instance = context.instance
    cursors = [
        getattr(state.instigator_data, "cursor", None)
        for state in (instance.all_instigator_state() if instance.schedule_storage else [])
        if state.instigator_name == NAME
    ]
    state = read_state(cursors[0] if cursors else None, clock())
    try:
        ways = channels()
    except CANNOT_LOOK as error:
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"No alert goes out: {why(error)}. Mend that; what waits goes out then.",
        )
    state.waiting = {way.name: state.waiting.get(way.name, Waiting()) for way in ways}
    return judge_delivery(state)


CHECKS = [alerts_check]
ALL = [alerts]
