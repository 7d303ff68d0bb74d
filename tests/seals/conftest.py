"""A log with events in every bucket, a home of its own, and who may do what."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from eventstore.seals.outside import Outside


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of the log: key and checkpoints."""
    return tmp_path / "home"


@pytest.fixture
def outside(home: Path) -> Outside:
    return Outside(home, {})


@pytest.fixture
def append(connection: psycopg.Connection[Any]) -> Callable[..., list[UUID]]:
    """Appends events to so many orders; returns the orders."""

    def append(orders: int = 1, events: int = 1, **data: object) -> list[UUID]:
        made = [uuid4() for _ in range(orders)]
        payload = Jsonb([{"type": "OrderShipped", "data": {"carrier": "DHL", **data}}] * events)
        for order in made:
            connection.execute("SELECT append_events(%s, %s)", (order, payload))
        return made

    return append
