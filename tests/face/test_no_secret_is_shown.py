"""Whatever somebody mistypes: what looks like `user:password@` is in no message."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventstore.kernel.addresses import without_logins
from eventstore.log.errors import EventStoreError
from eventstore.server.errors import ServerError

SECRET = "s3cr3t"
MISTYPED = [
    f"https:/ann:{SECRET}@host/a.ndjson",
    f" https://ann:{SECRET}@host/a.ndjson",
    f"ftp://ann:{SECRET}@host/a.ndjson",
    f"HTTPS://ann:{SECRET}@127.0.0.1:9/a.ndjson",
    f"postgresql:/ann:{SECRET}@host/shop",
    f"postgresql//ann:{SECRET}@host/shop",
    f"ann:{SECRET}@host/shop",
    f"https:/ann:{SECRET}/with/slashes@host/a.ndjson",
    f"https:/ann:with space {SECRET}@host/a.ndjson",
    f"s3:/{SECRET}:{SECRET}@bucket",
]
Cli = Callable[..., Any]


@pytest.mark.parametrize("url", MISTYPED)
@pytest.mark.parametrize(
    "command",
    [
        ("ingest", "URL"),
        ("backup", "--to", "URL"),
        ("restore", "--from", "URL"),
        ("restore", "--from", ".", "--into", "URL"),
    ],
)
def test_no_command_shows_what_it_was_given(
    cli: Cli, url: str, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if command[0] != "ingest" and not url.strip().lower().startswith(("http", "ftp", "postgresql:", "s3")):
        pytest.skip("that is the name of a folder")
    ran = cli(*(url if each == "URL" else each for each in command))
    assert ran.code in {1, 2}
    assert SECRET not in ran.out + ran.err
    assert not any(SECRET in name for _, folders, files in os.walk(tmp_path) for name in [*folders, *files])


@pytest.mark.parametrize("url", MISTYPED)
@pytest.mark.parametrize(
    "variable", ["DATABASE_URL", "READ_URL", "EVENTSTORE_BACKUPS", "EVENTSTORE_HOME", "EVENTSTORE_SEAL_KEY"]
)
@pytest.mark.parametrize("command", [("status",), ("settings",), ("doctor",), ("seal",)])
def test_no_setting_is_shown(
    cli: Cli,
    url: str,
    variable: str,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, url)
    ran = cli(*command)
    if variable in {"EVENTSTORE_BACKUPS", "EVENTSTORE_HOME"} and not url.strip().partition("/")[0].endswith(
        ":"
    ):
        return  # the name of a folder, which is no secret to the one who makes it
    assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"cannot open https:/ann:{SECRET}@host/x", "cannot open https:/…@host/x"),
        (f"ann:{SECRET}@host", "…@host"),
        (f"('postgresql://ann:{SECRET}@h/d')", "('postgresql://…@h/d')"),
        ("postgresql://ann@host/shop, postgresql://ann:***@host/shop", None),
        ("mail team@example.com at 12:30: it waits", None),
        ("orders@shop: 3 files", None),
    ],
)
def test_only_what_looks_like_a_login_is_hidden(text: str, shown: str | None) -> None:
    assert without_logins(text) == (text if shown is None else shown)
    for error in (EventStoreError, ServerError):
        assert str(error(text)) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "long", ["'a' * 10**6", "'a:' * 10**5", "'a:/' * 10**5", "' ' * 10**6", "'a.' * 10**6"]
)
def test_a_long_message_is_looked_through_once(long: str) -> None:
    """Not from each of its letters again, which takes minutes."""
    code = (
        "from eventstore.kernel.addresses import without_logins\n"
        f"print(without_logins({long} + ':{SECRET}@host'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert SECRET not in done.stdout
    assert done.stdout.rstrip().endswith("@host")
