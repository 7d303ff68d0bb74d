"""A log with events in every bucket, and a home of its own for key and checkpoints."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from eventstore.log.connection import Connection, open_connection
from eventstore.seals.outside import Outside
from tests.seals.events import append_orders


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home folder of the log: key and checkpoints."""
    return tmp_path / "home"


@pytest.fixture
def outside(home: Path) -> Outside:
    return Outside(home, {})


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    """A connection as the store opens them."""
    with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
def append(connection: psycopg.Connection[Any]) -> Callable[..., list[UUID]]:
    """Appends events to so many new orders; returns these."""

    def append(orders: int = 1, events: int = 1) -> list[UUID]:
        return append_orders(connection, orders, events)

    return append
