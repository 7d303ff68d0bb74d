"""Receivers of alerts, and a machine without settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alerts.receivers import Hook, web_server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """EVENTSTORE_HOME; no other setting of the environment reaches the test."""
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    for name in ("ALERT_WEBHOOK_URL", "SMTP_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    return tmp_path


@pytest.fixture
def hook() -> Iterator[Hook]:
    with web_server() as serving:
        yield serving
