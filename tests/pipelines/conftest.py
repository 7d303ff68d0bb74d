"""Fixtures of the Dagster tests: a home folder, files of events, the code location on the test's database."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg
import pytest
from dagster._core.storage.defs_state.base import DefsStateStorage

from pipelines.definitions import build_defs
from pipelines.resources import EventStore

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """EVENTSTORE_HOME with a landing folder; no other setting of the environment reaches the test."""
    (tmp_path / "landing").mkdir()
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    for name in ("DATABASE_URL", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def event_line() -> Callable[..., str]:
    """Makes a CloudEvent as a line of JSON; each call is a minute later than the one before."""
    made = 0

    def make(event_type: str, order_id: UUID | None = None, **data: Any) -> str:
        nonlocal made
        made += 1
        if event_type == "OrderCreated":
            data = {"customer_id": str(uuid4()), "amount": "10.00", "currency": "EUR"} | data
        return json.dumps(
            {
                "specversion": "1.0",
                "id": str(uuid4()),
                "source": "/tests",
                "type": event_type,
                "subject": str(order_id or uuid4()),
                "time": (START + timedelta(minutes=made)).isoformat(),
                "data": data,
            }
        )

    return make


@pytest.fixture
def drop(home: Path) -> Callable[..., Path]:
    """Hands a file over as the README says: written elsewhere, then moved into the landing folder."""

    def put(name: str, *lines: str) -> Path:
        written = home / f"{name}.part"
        written.write_text("".join(f"{line}\n" for line in lines))
        a_while_ago = time.time() - 60
        os.utime(written, (a_while_ago, a_while_ago))  # one changed just now might still be being written
        return written.rename(home / "landing" / name)

    return put


@pytest.fixture(autouse=True, scope="session")
def no_instance_of_another_test() -> Iterator[None]:
    """An instance that Dagster ends when it is collected, at any time, leaves the storage of another behind,
    which may be gone. For the fixtures of whole modules, too.
    """
    current = DefsStateStorage.get

    def living() -> DefsStateStorage | None:
        storage = current()
        instance = storage._instance_weakref if storage else None
        return storage if instance and instance() else None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DefsStateStorage, "get", living)
        yield


@pytest.fixture
def defs(database_url: str) -> dg.Definitions:
    return build_defs({"store": EventStore(url=database_url)})


@pytest.fixture
def run_job(defs: dg.Definitions) -> Callable[..., dg.ExecuteInProcessResult]:
    """Runs a job of the code location in this process and returns its result."""

    def run(name: str, **kwargs: Any) -> dg.ExecuteInProcessResult:
        return defs.resolve_job_def(name).execute_in_process(**kwargs)

    return run


@pytest.fixture
def materialize(defs: dg.Definitions) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materializes one asset, as a click in the UI does."""

    def run(asset: str, **kwargs: Any) -> dg.ExecuteInProcessResult:
        return defs.resolve_implicit_global_asset_job_def().execute_in_process(
            asset_selection=[dg.AssetKey(asset)], **kwargs
        )

    return run


@pytest.fixture
def replay(materialize: Callable[..., dg.ExecuteInProcessResult]) -> Callable[..., None]:
    """Replays the buckets from ``first`` to ``last`` in one run, as a run of a backfill does."""

    def run(first: str, last: str, **kwargs: Any) -> None:
        span = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        assert materialize("orders_replay", tags=span, **kwargs).success

    return run


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    [materialization] = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in materialization.metadata.items()}


@pytest.fixture(name="metadata_of")
def metadata_of_fixture() -> Callable[[dg.ExecuteInProcessResult, str], dict[str, Any]]:
    return metadata_of


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[2]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Finds a port that nobody listens on."""
    return _free_port


@pytest.fixture(scope="session")
def base_environment() -> dict[str, str]:
    """An environment for subprocesses without the settings of whoever runs the tests."""
    ours = {"DATABASE_URL", "DAGSTER_HOME", "EVENTSTORE_HOME", "EVENTSTORE_DAGSTER_URL"}
    return {name: value for name, value in os.environ.items() if name not in ours}
