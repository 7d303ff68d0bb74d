"""`eventstore alerts`: which ways there are, and whether a message arrives."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.alerts.receivers import web_server
from tests.face.conftest import Ran

Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.delenv("ALERT_WEBHOOK_URL", raising=False)
    return tmp_path


def test_without_settings_it_says_what_to_set(cli: Cli) -> None:
    shown = cli("alerts")
    assert shown.code == 0
    assert "ALERT_WEBHOOK_URL" in shown.out
    tried = cli("alerts", "--test")
    assert tried.code == 2
    assert "no alerts are configured" in tried.err


def test_a_test_message_arrives_or_the_reason_is_said_without_the_secret(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_server() as hook:
        monkeypatch.setenv("ALERT_WEBHOOK_URL", hook.url)
        assert cli("alerts", "--json").json == {"webhook": "configured"}
        assert not hook.posted
        assert cli("alerts", "--test").out == "webhook  arrived\n"
        assert "Somebody tries" in str(hook.posted[0]["text"])
        hook.status = 404
        failed = cli("alerts", "--test")
    assert (failed.code, failed.out) == (1, "webhook  not delivered: the webhook answered 404\n")
    assert "53cret" not in failed.out + failed.err
