"""Lines and files of events for the ingestion tests."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from eventstore.ingestion.load import Ingested
from tests.shipped import ingest


@pytest.fixture
def event() -> Callable[..., bytes]:
    """Makes a good line; keyword arguments change or, with ``...``, take away attributes of the envelope."""

    def make(**changes: Any) -> bytes:
        attributes = {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": "/tests",
            "type": "OrderPaid",
            "subject": str(uuid4()),
            "time": "2026-03-03T12:00:00Z",
            "data": {"amount": "12.50", "currency": "EUR"},
        } | {name: str(value) if isinstance(value, UUID) else value for name, value in changes.items()}
        return json.dumps({name: value for name, value in attributes.items() if value is not ...}).encode()

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "landing"
    path.mkdir()
    return path


@pytest.fixture
def drop(folder: Path, event: Callable[..., bytes]) -> Callable[..., Path]:
    """Puts a file of one good line, or of other content, into the landing folder."""

    def put(name: str, content: bytes | None = None, ns: int = 10**18) -> Path:
        path = folder / name
        path.write_bytes(event() if content is None else content)
        os.utime(path, ns=(ns, ns))
        return path

    return put


@pytest.fixture
def paid_with(event: Callable[..., bytes]) -> Callable[[bytes], bytes]:
    """Makes a line whose payload has one more field, ``extra``, with exactly the given bytes as its value."""

    def make(extra: bytes) -> bytes:
        return event(data={"amount": "12.50", "currency": "EUR", "extra": "HERE"}).replace(b'"HERE"', extra)

    return make


@pytest.fixture
def ingest_bytes(connection: psycopg.Connection[Any], tmp_path: Path) -> Callable[..., Ingested]:
    """Ingests a file with the given content."""

    def run(content: bytes, name: str = "events.ndjson") -> Ingested:
        path = tmp_path / name
        path.write_bytes(content)
        return ingest(connection, [path])

    return run


@pytest.fixture
def rejects(connection: psycopg.Connection[Any]) -> Callable[[], list[tuple[int, str]]]:
    """Line and reason of each unresolved reject, by line."""

    def read() -> list[tuple[int, str]]:
        return connection.execute(
            "SELECT line, reason FROM rejects WHERE resolved_at IS NULL ORDER BY line"
        ).fetchall()

    return read
