"""What runs when something happens outside."""

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from eventstore.ingestion.contents import to_be_moved
from eventstore.ingestion.files import FileVersion, Found, NotRead
from eventstore.ingestion.landing import RUN_FILES, ready
from eventstore.ingestion.moving import is_broken_off
from eventstore.ingestion.places import can_move, look
from eventstore.log.connection import Connection
from eventstore.orders.domain import DOMAIN
from eventstore.server import settings
from pipelines import jobs
from pipelines.resources import EventStore

#: So many names that are left alone are named one by one.
_NAMED = 1000
#: A run that was asked for longer ago and never came to the queue is not on its way any more.
_LOST = timedelta(minutes=2)
#: What is known of the database is asked again after so long.
_KNOWN_S = 300


class _Known:
    """Files that were read to their end, so that a tick asks only about the others."""

    def __init__(self) -> None:
        self.versions: set[FileVersion] = set()
        self._of: object = None
        self._since = 0.0

    def about(self, database: str) -> set[FileVersion]:
        if database != self._of or time.monotonic() > self._since + _KNOWN_S:
            self.versions, self._of, self._since = set(), database, time.monotonic()
        return self.versions


_known = _Known()


@dg.sensor(
    job=jobs.ingest_and_refresh,
    minimum_interval_seconds=4,  # the daemon looks every 5 s: with 5, each second look is too early
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"While new or changed files wait in the landing folder, a run takes up to {RUN_FILES:,} of "
    "them on into `orders`, and the next run what came meanwhile. What was read is moved to `done`, or to "
    "`failed` with the reason beside it; so is what was put back. Names that are left alone are named once.",
)
def landing_files(
    context: dg.SensorEvaluationContext, store: EventStore
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    folder = settings.landing_place()
    with store.connect() as connection:
        known = _known.about(f"{connection.info.dsn} {folder}")
        seen = look(folder, DOMAIN.formats, settled=True, without=known)
        together, alone = ready(connection, seen.files, known)
        left = _left(connection, [found for found in seen.files if found.version in known])
        known -= {found.version for found in left}
    news = _name_once(context, seen.skipped)
    number = len(together) or len(alone)
    is_left = not number and (bool(left) or _is_broken_off(folder))
    if not number and not is_left:
        yield dg.SkipReason(f"{news}No new file in {folder} waits for a run.")
    elif is_left and _is_at_work(context.instance):
        yield dg.SkipReason(f"{news}Files that were read are to be moved; the run that reads does that.")
    elif _is_on_its_way(context.instance):
        yield dg.SkipReason(f"{news}Files wait in {folder}; the run that takes them is on its way.")
    else:
        yield dg.RunRequest(tags={"eventstore/files": str(number)})


def _left(connection: Connection, read: list[Found]) -> list[Found]:
    """What was put back, or what a run that was broken off had no time to move."""
    moves = settings.move_files() and can_move(settings.landing_place())
    return to_be_moved(connection, read) if read and moves else []


def _is_broken_off(folder: Path | str) -> bool:
    return isinstance(folder, Path) and settings.move_files() and is_broken_off(folder)


def _name_once(context: dg.SensorEvaluationContext, skipped: list[NotRead]) -> str:
    """Say which names are left alone, unless an earlier tick did; the cursor remembers."""
    if not skipped and not context.cursor:
        return ""
    before = set(json.loads(context.cursor or "[]"))
    now = {hashlib.sha256(repr(each).encode()).hexdigest()[:16]: each for each in skipped[:_NAMED]}
    context.update_cursor(json.dumps(sorted(now)))
    new = [each for digest, each in now.items() if digest not in before]
    if not new:
        return ""
    said = [f"Left alone: {each.file} ({each.reason})." for each in new]
    if len(skipped) > _NAMED:
        said.append(f"There are {len(skipped) - _NAMED} more such names.")
    for each in said:
        context.log.warning(each)
    return " ".join(said) + " "


def _is_on_its_way(instance: dg.DagsterInstance) -> bool:
    """Whether a run of ours has not begun yet: it will find these files too."""
    tags = {"dagster/sensor_name": "landing_files"}
    waits = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING]
    if instance.get_run_ids(dg.RunsFilter(statuses=waits, tags=tags), limit=1):
        return True
    made = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.NOT_STARTED], tags=tags, created_after=datetime.now(UTC) - _LOST
    )
    return bool(instance.get_run_ids(made, limit=1))


def _is_at_work(instance: dg.DagsterInstance) -> bool:
    """Whether a run of ours reads just now: it moves what it has read."""
    tags = {"dagster/sensor_name": "landing_files"}
    return bool(
        instance.get_run_ids(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags=tags), limit=1)
    )


ALL = [landing_files]
