"""The yardstick from PyPI: the package ``eventsourcing`` with its default PostgreSQL recorder."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from eventstore.kernel.folding import advance
from eventstore.kernel.recorded import from_ms
from eventstore.orders.domain import ORDERS

#: order, version, event type, payload as JSON, business time in ms
Saved = tuple[UUID, int, str, str, int]

_BATCH = 500


class OrderEvent(Aggregate.Event):
    event_type: str
    data: str
    created_at: int


class Orders(Application[UUID]):
    pass


class OrdersView(PostgresTrackingRecorder):
    """Keeps the table ``orders`` by our rules, an event and its tracking record in one transaction."""

    def apply(self, event: OrderEvent, tracking: Tracking) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, ORDERS.columns))
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(
                sql.SQL("SELECT {} FROM orders WHERE order_id = %s").format(columns), (event.originator_id,)
            )
            state = ORDERS.initial(event.originator_id)
            if row := cursor.fetchone():
                values = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
                state = msgspec.structs.replace(state, **values)
            recorded = ORDERS.events.fold_event(
                event.event_type,
                UUID(int=tracking.notification_id),
                event.originator_id,
                event.originator_version,
                event.created_at,
                None,
                msgspec.Raw(event.data.encode()),
            )
            advance(ORDERS.current, state, recorded)
            cursor.execute(
                sql.SQL("INSERT INTO orders ({}) VALUES ({}) ON CONFLICT (order_id) DO UPDATE SET {}").format(
                    columns,
                    sql.SQL(", ").join([sql.Placeholder()] * len(ORDERS.columns)),
                    sql.SQL(", ").join(
                        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column))
                        for column in ORDERS.columns
                    ),
                ),
                [
                    list(value) if isinstance(value, tuple) else value
                    for value in msgspec.structs.astuple(state)
                ],
            )
            self._insert_tracking(cursor, tracking)


class OrdersProjection(Projection[OrdersView]):
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.apply(domain_event, tracking)


def application(url: str, *, create_table: bool = True) -> Orders:
    """The tables are to be created by one process alone."""
    return Orders(env={**_env(url), "CREATE_TABLE": "yes" if create_table else "no"})


def save(orders: Orders, events: Sequence[Saved]) -> None:
    """Save events in one transaction."""
    orders.recorder.insert_events(
        [
            orders.mapper.to_stored_event(
                OrderEvent(  # type: ignore[call-arg]
                    originator_id=order_id,
                    originator_version=version,
                    timestamp=from_ms(created_at),
                    event_type=event_type,
                    data=data,
                    created_at=created_at,
                )
            )
            for order_id, version, event_type, data, created_at in events
        ]
    )


def save_in_batches(url: str, events: Sequence[Saved]) -> float:
    """Events per second in batches of 500."""
    orders = application(url)
    try:
        started = time.perf_counter()
        for start in range(0, len(events), _BATCH):
            save(orders, events[start : start + _BATCH])
        return len(events) / (time.perf_counter() - started)
    finally:
        orders.close()


def project(url: str, events: int) -> float:
    """Events per second of a ProjectionRunner that begins with an empty view of ``events`` saved events."""
    started = time.perf_counter()
    with ProjectionRunner(
        application_class=Orders, projection_class=OrdersProjection, view_class=OrdersView, env=_env(url)
    ) as runner:
        runner.wait(events, timeout=600)
        return events / (time.perf_counter() - started)


def _env(url: str) -> dict[str, str]:
    parameters = conninfo_to_dict(url)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_POOL_SIZE": "1",  # its default opens five connections per process at once
        "POSTGRES_DBNAME": str(parameters["dbname"]),
        "POSTGRES_HOST": str(parameters.get("host") or "localhost"),
        "POSTGRES_PORT": str(parameters.get("port") or 5432),
        "POSTGRES_USER": str(parameters.get("user") or ""),
        "POSTGRES_PASSWORD": str(parameters.get("password") or "unused"),
    }
