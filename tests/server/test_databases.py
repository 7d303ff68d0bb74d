"""Creating databases that are missing."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from eventstore.server.databases import ensure_database
from eventstore.server.errors import ServerError
from eventstore.server.urls import database_name, with_database


@pytest.fixture
def missing_url(new_database: Callable[..., str]) -> str:
    """Names a database that is not there (and which the fixtures drop if it appears)."""
    url = new_database(migrated=False)
    return with_database(url, f"{database_name(url)}_dagster")


def _login(url: str, login: str) -> str:
    """The URL with another user and password; what is no login stays."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


def test_a_missing_database_is_created_in_utf8(missing_url: str) -> None:
    ensure_database(missing_url)
    with psycopg.connect(missing_url) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_a_database_that_exists_is_left_alone(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept ()")
    ensure_database(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_several_may_create_the_same_database_at_once(missing_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for result in [pool.submit(ensure_database, missing_url) for _ in range(8)]:
            result.result()
    psycopg.connect(missing_url).close()


def test_it_is_created_while_somebody_is_connected_to_template1(missing_url: str) -> None:
    with psycopg.connect(with_database(missing_url, "template1")):
        ensure_database(missing_url)
    psycopg.connect(missing_url).close()


def test_a_role_that_may_not_create_databases_is_told_what_to_ask_for(
    missing_url: str, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    role = f"{connection.info.dbname}_clerk"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'")
    try:
        with pytest.raises(ServerError) as caught:
            ensure_database(_login(missing_url, f"{role}:hush"))
    finally:
        connection.execute(f"DROP ROLE {role}")
    name = database_name(missing_url)
    assert f'CREATE DATABASE "{name}" OWNER "{role}"' in str(caught.value)


def test_a_server_that_does_not_answer_is_one_line_without_the_password() -> None:
    with pytest.raises(ServerError) as caught:
        ensure_database("postgresql://ann:hush@127.0.0.1:1/shop")
    message = str(caught.value)
    assert "postgresql://ann:***@127.0.0.1:1/shop" in message
    assert "refused" in message
    assert "hush" not in message
    assert "\n" not in message


def test_nobody_but_its_owner_may_connect_to_a_database_that_we_made(
    missing_url: str, connection: psycopg.Connection[tuple[object, ...]]
) -> None:
    ensure_database(missing_url)
    role = f"{connection.info.dbname}_stranger"
    connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hush'")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(_login(missing_url, f"{role}:hush"))
    finally:
        connection.execute(f"DROP ROLE {role}")
