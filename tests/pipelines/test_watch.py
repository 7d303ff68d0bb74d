"""What is late, switched off or unproved turns the page by itself, without a run of the table concerned."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from dagster._core.remote_origin import RemoteInstigatorOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType
from psycopg.types.json import Jsonb

from eventstore.engine.lateness import lateness
from eventstore.log.settings import change_setting
from eventstore.server.settings import home as home_folder
from pipelines import watch as watching
from pipelines.resources import EventStore

Connection = psycopg.Connection[Any]
Run = Callable[..., dg.ExecuteInProcessResult]
PAID = Jsonb([{"type": "OrderPaid", "data": {"amount": "1.00", "currency": "EUR"}}])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def long_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "GRACE_S", 0)


@pytest.fixture
def tick(defs: dg.Definitions, database_url: str, instance: dg.DagsterInstance) -> Callable[[], str]:
    """A look of the watch; returns what it says."""

    def look() -> str:
        context = dg.build_sensor_context(
            instance=instance, definitions=defs, resources={"store": EventStore(url=database_url)}
        )
        [skipped] = list(watching.watch(context))  # type: ignore[arg-type]
        return str(skipped.skip_message)

    return look


@pytest.fixture
def shown(instance: dg.DagsterInstance) -> Callable[[str, str], dg.AssetCheckEvaluation | None]:
    """What the page of an asset says of a check."""

    def find(asset: str, name: str) -> dg.AssetCheckEvaluation | None:
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        records = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        if not records:
            return None
        assert records[0].event is not None
        assert records[0].event.dagster_event is not None
        return records[0].event.dagster_event.asset_check_evaluation_data

    return find


@pytest.fixture
def switch(instance: dg.DagsterInstance, defs: dg.Definitions) -> Callable[[str, InstigatorStatus], None]:
    """Switches a schedule or sensor, as the page Automation does."""

    def to(name: str, status: InstigatorStatus) -> None:
        repository = defs.get_repository_def()
        is_schedule = any(each.name == name for each in repository.schedule_defs)
        kind = InstigatorType.SCHEDULE if is_schedule else InstigatorType.SENSOR
        [origin] = [RemoteInstigatorOrigin(_origin(repository.name), name)]
        state = InstigatorState(origin, kind, status)
        if instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            instance.update_instigator_state(state)
        else:
            instance.add_instigator_state(state)

    return to


def _origin(repository: str) -> Any:
    from dagster._core.remote_origin import (  # noqa: PLC0415
        RegisteredCodeLocationOrigin,
        RemoteRepositoryOrigin,
    )

    return RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("eventstore"), repository)


def append(connection: Connection, ago: timedelta = timedelta(0)) -> None:
    """An event that was recorded a while ago."""
    connection.execute("SELECT append_events(%s, %s)", (uuid4(), PAID))
    if ago:
        connection.execute("ALTER TABLE order_events DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE order_events SET id = uuidv7_floor(uuidv7_ms(id) - %s) "
            "WHERE id = (SELECT max(id::text)::uuid FROM order_events)",
            (int(ago.total_seconds() * 1000),),
        )
        connection.execute("ALTER TABLE order_events ENABLE TRIGGER USER")


def test_a_quiet_log_is_green_for_ever(
    tick: Callable[[], str], shown: Callable[..., Any], run_job: Run, instance: dg.DagsterInstance
) -> None:
    assert "in time" in tick()
    for asset in ("orders", "order_history", "order_snapshots", "customers", "daily_order_metrics"):
        assert shown(asset, "lag").passed, asset
    assert shown("order_events", "automation").passed
    assert shown("log_seals", "proof").passed
