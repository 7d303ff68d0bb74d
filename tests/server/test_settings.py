"""What EVENTSTORE_HOME and DATABASE_URL mean."""

from pathlib import Path

import pytest

from eventstore.server import embedded, settings
from eventstore.server.errors import ServerError


def test_the_home_folder_is_in_the_current_folder_unless_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVENTSTORE_HOME")
    assert settings.home() == tmp_path / ".eventstore"
    monkeypatch.setenv("EVENTSTORE_HOME", "shop data")
    assert settings.home() == tmp_path / "shop data"
    assert settings.landing() == tmp_path / "shop data" / "landing"
    assert settings.dagster_home() == tmp_path / "shop data" / "dagster"
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("EVENTSTORE_HOME", "~/shop")
    assert settings.home() == Path("/home/ann/shop")


def test_asking_for_the_folders_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))
    settings.landing()
    settings.dagster_home()
    assert not settings.home().exists()


def test_the_url_in_the_environment_wins_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "postgres://ann@localhost/shop")
    assert settings.database_url() == "postgresql://ann@localhost/shop"
    assert not (tmp_path / "home").exists()


def test_an_unusable_url_in_the_environment_is_an_error_not_a_reason_to_start_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "mysql://localhost/shop")
    with pytest.raises(ServerError):
        settings.database_url()
    assert not (tmp_path / "home").exists()


def test_without_a_url_the_server_in_the_home_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "")
    started: list[Path] = []

    def start(home: Path) -> str:
        started.append(home)
        return "postgresql:///eventstore"

    monkeypatch.setattr(embedded, "start", start)
    assert settings.database_url() == "postgresql:///eventstore"
    assert started == [tmp_path]


def test_dagster_gets_a_database_of_its_own_on_the_same_server() -> None:
    url = "postgresql://ann:pw@host:5433/shop?sslmode=require"
    assert settings.dagster_database_url(url) == "postgresql://ann:pw@host:5433/shop_dagster?sslmode=require"
