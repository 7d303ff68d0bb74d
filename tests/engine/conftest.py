"""Real orders for tests of read models."""

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest


@pytest.fixture(scope="session")
def olist_lines(shared_data: Path) -> list[dict[str, Any]]:
    """The CloudEvents of 74,557 orders in the order of their times."""
    with gzip.open(shared_data / "olist" / "events.ndjson.gz", "rb") as file:
        return [msgspec.json.decode(line) for line in file]
