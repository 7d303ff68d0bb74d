"""What this machine is told by the environment and by eventstore.toml, and which wins."""

import ast
import re
from pathlib import Path

import pytest

from eventstore.server import embedded, settings
from eventstore.server.errors import ServerError
from tests.parsing import parsed


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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EVENTSTORE_HOME", str(tmp_path))
    for name in ("DATABASE_URL", "DATABASE_URL_FILE", "PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_a_database_is_named_by_the_environment_then_by_a_secret_file_then_by_the_file_of_the_machine(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.given_url() is None
    assert settings.embedded_home() == home
    settings.file().write_text('database_url = "postgres://shop@db/third"')
    assert settings.database_url() == "postgresql://shop@db/third"
    secret = home / "secret"
    secret.write_text("postgresql://shop:hush@db/second\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    assert settings.database_url() == "postgresql://shop:hush@db/second"
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop@db/first")
    assert settings.database_url() == "postgresql://shop@db/first"
    assert settings.embedded_home() is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "must hold one line"),
        (b"\n\n", "must hold one line"),
        (b"postgresql://a:hush@b/c\npostgresql://a:hush@b/d\n", "must hold one line"),
        (b"hush", "is not a URL"),
        (b"mysql://a:hush@b/c", "of the kind 'mysql'"),
        (b"postgresql://a:hush@b\xff/c", "it is not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_secret_file_that_holds_no_url_is_an_error_that_shows_nothing_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, says: str
) -> None:
    secret = home / "secret"
    if content is not None:
        secret.write_bytes(content)
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    with pytest.raises(ServerError) as refused:
        settings.database_url()
    assert says in str(refused.value)
    assert str(secret) in str(refused.value)
    assert "hush" not in str(refused.value)


def test_where_nothing_is_to_be_embedded_a_missing_database_is_an_error(home: Path) -> None:
    settings.file().write_text("embedded = false")
    with pytest.raises(ServerError, match=r"no database is named, and .*toml says embedded = false"):
        settings.database_url()
    assert not (home / "postgres").exists()


def test_the_landing_folder_is_where_the_file_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    for said, meant in {
        "in": home / "in",
        "../in": home / ".." / "in",
        "/data/in": Path("/data/in"),
        "~/in": Path("/home/ann/in"),
    }.items():
        settings.file().write_text(f'landing = "{said}"')
        assert settings.landing() == meant


def test_the_port_is_that_of_the_environment_or_of_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.port() == 3000
    settings.file().write_text("port = 3001")
    assert settings.port() == 3001
    monkeypatch.setenv("PORT", "3002")
    assert settings.port() == 3002
    for odd in ("x", "0", "65536", "-1", "3e3", "3000.0", "٣٠٠٠", "9" * 5000):
        monkeypatch.setenv("PORT", odd)
        with pytest.raises(ServerError, match="PORT is not a port"):
            settings.port()


def test_every_variable_that_the_code_knows_is_documented() -> None:
    """Those that only our own processes hand to one another are nobody else's business."""
    root = Path(settings.__file__).parents[2]
    texts = {
        node.value
        for folder in ("eventstore", "pipelines")
        for file in (root / folder).rglob("*.py")
        for node in ast.walk(parsed(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    read = {
        text
        for text in texts
        if re.fullmatch(r"EVENTSTORE_[A-Z_]+|[A-Z_]+_(URL|PASSWORD)(_FILE)?|PORT", text)
    }
    assert read - {"EVENTSTORE_UP", "EVENTSTORE_DAGSTER_URL", "EVENTSTORE_LOCAL_CLUSTER"} == set(
        settings.VARIABLES
    )
