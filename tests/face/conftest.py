"""The command line, run in this process as a user would run it."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest

from eventstore.face.cli import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, object]:
        """Standard output, which must be one object on one line."""
        assert self.out.count("\n") == 1, self.out
        found: dict[str, object] = msgspec.json.decode(self.out)
        return found


@pytest.fixture
def cli(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """``cli("show", order_id, "--json")`` on the test's own database."""
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["eventstore", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        captured = capsys.readouterr()
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)

    return run
