"""The functions of the engine with the shipped domain in hand, for tests in which it does not matter."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from eventstore.engine import current as currents
from eventstore.engine import event_history, promote, reading
from eventstore.engine import preview as previews
from eventstore.engine import refresh as refreshing
from eventstore.engine import replay as replays
from eventstore.engine import state as states
from eventstore.engine import status as statuses
from eventstore.engine.change import same_rules
from eventstore.engine.derived import DerivedRefreshed, refresh_derived
from eventstore.engine.projection import Projection
from eventstore.engine.snapshots import build
from eventstore.ingestion import landing, load, rejects
from eventstore.ingestion.admission import StagedEvent, read_event
from eventstore.ingestion.files import NotRead
from eventstore.ingestion.formats.cloudevents import CLOUD_EVENTS
from eventstore.kernel.event_history import HistoryEntry
from eventstore.kernel.events import Event
from eventstore.kernel.incoming import Format, Line
from eventstore.kernel.recorded import FoldEvent, RecordedEvent
from eventstore.log import append as appending
from eventstore.log import feed
from eventstore.log.connection import Connection
from eventstore.log.schema import migrate
from eventstore.orders.domain import CUSTOMERS, DAILY_ORDER_METRICS, DOMAIN, HISTORY, ORDERS
from eventstore.orders.order import ORDER_RULES, OrderState

EVENTS, FORMATS = DOMAIN.events, DOMAIN.formats
#: By these this release folds orders. A test that needs others makes them from these, as version "newer".
RULES = ORDER_RULES[-1]

upgrade = partial(migrate.upgrade, functions=DOMAIN.functions)
read = partial(feed.read, codec=EVENTS)
stream = partial(feed.stream, codec=EVENTS)


def append(
    connection: Connection,
    order_id: UUID,
    events: Iterable[Event | appending.Fact],
    expected_version: int | None = None,
) -> Sequence[RecordedEvent]:
    return appending.append(connection, order_id, events, expected_version, codec=EVENTS)


def refresh(connection: Connection, projection: Projection[Any] = ORDERS) -> refreshing.Refreshed:
    return refreshing.refresh(connection, projection)


def refresh_history(connection: Connection) -> refreshing.Refreshed:
    return refreshing.refresh(connection, HISTORY)


def replay_bucket(
    connection: Connection, bucket: int, projection: Projection[Any] = ORDERS, *given: Any, **options: Any
) -> replays.BucketReplayed:
    return replays.replay_bucket(connection, bucket, projection, *given, **options)


def promote_projection(
    connection: Connection, projection: Projection[Any] = ORDERS, **options: Any
) -> promote.Promoted | None:
    return promote.promote(connection, projection, **options)


def preview(
    connection: Connection, projection: Projection[Any] = ORDERS, **options: Any
) -> previews.Preview | None:
    return previews.preview(connection, projection, **options)


def set_promotion_policy(connection: Connection, policy: str, projection: Projection[Any] = ORDERS) -> None:
    promote.set_promotion_policy(connection, projection, policy)


def current(
    connection: Connection, order_id: UUID, projection: Projection[OrderState] = ORDERS
) -> OrderState | None:
    return currents.current(connection, projection, order_id)


def state(
    connection: Connection,
    order_id: UUID,
    at: datetime | None = None,
    known: datetime | None = None,
    version: int | None = None,
) -> OrderState | None:
    return states.state(connection, ORDERS, order_id, at, known, version)


def history_of(connection: Connection, order_id: UUID) -> Iterator[HistoryEntry]:
    return event_history.history_of(connection, ORDERS, order_id)


def status(connection: Connection) -> statuses.Status:
    return statuses.status(connection, DOMAIN)


def build_snapshots(connection: Connection, first_day: date, last_day: date) -> build.SnapshotsBuilt:
    return build.build_snapshots(connection, ORDERS, first_day, last_day)


def refresh_stale(connection: Connection) -> build.SnapshotsRefreshed:
    return build.refresh_stale(connection, ORDERS)


def stale_days(connection: Connection) -> list[date]:
    return build.stale_days(connection, ORDERS)


def refresh_customers(connection: Connection) -> DerivedRefreshed:
    return refresh_derived(connection, CUSTOMERS)


def refresh_daily_metrics(connection: Connection, *, rebuild: bool = False) -> DerivedRefreshed:
    return refresh_derived(connection, DAILY_ORDER_METRICS, rebuild=rebuild)


def events_in(rows: Iterable[tuple[Any, ...]]) -> list[FoldEvent]:
    return reading.events_in(EVENTS, rows)


def events_between(connection: Connection, after: UUID, until: UUID, limit: int) -> list[FoldEvent]:
    return reading.events_between(connection, EVENTS, after, until, limit)


def ingest(
    connection: Connection | str,
    paths: Sequence[Path | str],
    formats: Sequence[Format] = FORMATS,
    **options: Any,
) -> load.Ingested:
    return load.ingest(connection, EVENTS, formats, paths, **options)


def ingest_landing(
    connection: Connection | str, folder: Path | str, formats: Sequence[Format] = FORMATS, **options: Any
) -> load.Ingested:
    return load.ingest_landing(connection, EVENTS, formats, folder, **options)


def files_waiting(connection: Connection, folder: Path) -> list[Path]:
    return landing.files_waiting(connection, folder, FORMATS)


def take(connection: Connection, folder: Path) -> tuple[landing.Claim, list[NotRead]]:
    return landing.claim(connection, folder, FORMATS)


def retry(connection: Connection) -> rejects.Retried:
    return rejects.retry(connection, EVENTS, FORMATS)


def parse(line: bytes) -> StagedEvent:
    """The event in a line of a file of CloudEvents, not the first one."""
    return read_event(Line(2, line, len(line)), CLOUD_EVENTS, EVENTS)


def as_if_rules_had_changed(connection: Connection) -> None:
    """All that goes by the rules of `orders` stands by older ones, not what has rules of its own."""
    mine = [each.name for each in same_rules(DOMAIN, ORDERS)]
    others = [each.name for each in DOMAIN.projections if each.name not in mine]
    connection.execute("UPDATE projections SET fold_version = 'before' WHERE name <> ALL (%s)", (others,))
