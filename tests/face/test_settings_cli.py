"""`eventstore settings`: both kinds with where each comes from; those of the store can be set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from eventstore.face.settings_reference import settings_reference
from eventstore.log.settings import settings
from eventstore.server.machine import Machine
from eventstore.server.settings import file
from tests.face.conftest import Ran

Cli = Callable[..., Ran]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    return tmp_path


def listed(cli: Cli) -> dict[str, tuple[str, str]]:
    """Value and source by name, as a program reads them."""
    found: Any = cli("settings", "--json").json
    sources = found.pop("from")
    assert found.keys() == sources.keys()
    return {name: (value, sources[name]) for name, value in found.items()}


def test_a_setting_of_the_store_is_shown_and_changed(cli: Cli) -> None:
    assert listed(cli)["max_hold"] == ("00:05:00", "default")
    changed = cli("settings", "max_hold", "90 seconds", "--json").json
    assert changed["max_hold"] == "00:01:30"
    assert listed(cli)["max_hold"] == ("00:01:30", "database")
    assert "00:01:30" in cli("settings").out


def test_who_promotes_is_one_of_the_settings_and_has_its_own_command_too(cli: Cli) -> None:
    assert listed(cli)["promotion.orders"] == ("auto", "default")
    assert cli("settings", "promotion.orders", "manual").code == 0
    assert listed(cli)["promotion.orders"] == ("manual", "database")
    assert cli("promotion", "--json").json == {
        "promotion": "manual",
        "projections": {"orders": "manual", "order_history": "auto"},
    }
    assert cli("promotion", "manual", "order_history").code == 0
    assert listed(cli)["promotion.order_history"] == ("manual", "database")


def test_facts_of_the_machine_come_from_the_environment_the_file_or_nowhere(
    cli: Cli, home: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file().write_text('port = 3001\nlanding = "in"\nruns_per_pool = 2\n')
    found = listed(cli)
    assert found["port"] == ("3001", "eventstore.toml")
    assert found["landing"] == (str(home / "in"), "eventstore.toml")
    assert found["runs_per_pool"] == ("2", "eventstore.toml")  # said, though it is the default
    assert found["concurrent_runs"] == ("8", "default")
    assert found["database_url"][1] == "DATABASE_URL"
    assert found["EVENTSTORE_HOME"] == (str(home), "EVENTSTORE_HOME")
    monkeypatch.setenv("PORT", "3002")
    assert listed(cli)["port"] == ("3002", "PORT")
    secret = home / "secret"
    secret.write_text(database_url)
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    assert listed(cli)["database_url"][1] == "DATABASE_URL_FILE"


def test_of_a_secret_it_is_said_whether_it_is_given(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(cli)["EVENTSTORE_SEAL_KEY"] == ("none", "default")
    monkeypatch.setenv("EVENTSTORE_SEAL_KEY", "hush")
    assert listed(cli)["EVENTSTORE_SEAL_KEY"] == ("given", "EVENTSTORE_SEAL_KEY")
    assert "hush" not in cli("settings").out


def test_no_password_is_listed(cli: Cli, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{database_url}{'&' if '?' in database_url else '?'}password=hush")
    for arguments in ((), ("--json",)):
        ran = cli("settings", *arguments)
        assert ran.code == 0
        assert "***" in ran.out
        assert "hush" not in ran.out


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("max_hold", "soon", "max_hold cannot be 'soon'"),
        ("max_hold", "1 second", "it is between 10 seconds and 1 day"),
        ("max_hold", "\udcff", "max_hold cannot be"),
        ("promotion.orders", "maybe", "no promotion policy: give auto or manual"),
        ("promotion.nothing", "auto", "there is no setting 'promotion.nothing'; there are: max_hold, "),
        ("prt", "3000", "there is no setting 'prt'"),
        ("port", "3001", "port is a fact of this machine: write it into "),
        ("database_url", "x", 'as in database_url = "postgresql://user@host/database"'),
        ("DATABASE_URL", "x", "DATABASE_URL is a variable of the environment"),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, name: str, value: str, says: str) -> None:
    ran = cli("settings", name, value)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert says in ran.err


@pytest.mark.parametrize("command", [("settings",), ("status",), ("init",), ("url",)])
def test_what_the_file_may_not_say_stops_every_command_in_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    file().write_text("prt = 3001")
    ran = cli(*command)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert f'{file()}: there is no setting "prt"' in ran.err


@pytest.mark.parametrize("terminal", [True, False])
def test_every_setting_is_listed_with_what_it_means(
    cli: Cli, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("eventstore.face.cli.output.console._force_terminal", terminal)
    out = cli("settings").out
    for setting in settings(connection):
        assert setting.name in out
        if not terminal:
            assert setting.description in out
    for name in Machine.__struct_fields__:
        assert name in out


def test_the_page_of_the_reference_is_what_the_definitions_say(connection: psycopg.Connection[Any]) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
    assert page.read_text(encoding="utf-8") == settings_reference(connection), (
        "make it anew: python -m eventstore.face.settings_reference > docs/reference/settings.md"
    )


def test_the_page_names_each_setting_with_its_default_and_what_it_must_be(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute(
        "ALTER TABLE settings ADD max_waste int NOT NULL DEFAULT 7 CONSTRAINT max_waste_is_at_most_9 "
        "CHECK (max_waste <= 9); COMMENT ON COLUMN settings.max_waste IS 'how much | may go to waste'"
    )
    page = settings_reference(connection)
    assert "| `max_waste` | `7` | integer, at most 9 | how much \\| may go to waste |" in page
    for name in Machine.__struct_fields__:
        assert f"| `{name}` |" in page
