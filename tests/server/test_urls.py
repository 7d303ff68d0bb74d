"""Database URLs as people write them."""

import pytest
from psycopg.conninfo import conninfo_to_dict

from eventstore.server.errors import ServerError
from eventstore.server.urls import checked, checked_head, database_name, with_database, without_password


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://ann:secret@db.example.org:5433/shop?sslmode=require",
        "postgres://ann:secret@db.example.org:5433/shop?sslmode=require",
        "postgresql+psycopg://ann:secret@db.example.org:5433/shop?sslmode=require\n",
    ],
)
def test_the_usual_spellings_of_a_url_mean_the_same(written: str) -> None:
    assert checked(written) == "postgresql://ann:secret@db.example.org:5433/shop?sslmode=require"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("mysql://ann:secret@localhost/shop", "only PostgreSQL is supported"),
        ("host=localhost dbname=shop password=secret", "is not a URL"),
        ("secret", "is not a URL"),
        ("postgresql://ann:secret@localhost", "names no database"),
        ("postgresql://ann:secret@localhost/", "names no database"),
        ("postgresql://ann:secret@[::1/shop", "cannot be read"),
        ("postgresql://ann:secret@localhost/shop?nonsense=1", "cannot be read"),
        ("postgresql://ann:secret%zz@localhost/shop", "cannot be read"),
        ("postgresql://ann:sec@secret@localhost/shop", "%40"),
        ("postgresql://ann:sec/secret@localhost/shop", "%2F"),
        ("postgresql://ann:sec?secret@localhost/shop", "%3F"),
        ("postgresql://ann:sec#secret@localhost/shop", "%23"),
    ],
)
def test_a_wrong_url_is_one_line_that_says_what_is_expected_and_shows_no_password(
    written: str, said: str
) -> None:
    with pytest.raises(ServerError) as caught:
        checked(written)
    message = str(caught.value)
    assert said in message
    assert "DATABASE_URL" in message
    assert "postgresql://USER:PASSWORD@HOST:5432/DATABASE" in message
    assert "secret" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:p%40ss@db.example.org:5433/shop?sslmode=require&application_name=a%20b",
        "postgresql://postgres@/shop?host=/home/j%C3%B6rg/my%20shop,%2C&port=5432",
        "postgresql://ann@one:5432,two:5433/shop?target_session_attrs=read-write",
        "postgresql://ann@localhost?dbname=shop",
        "postgresql:///shop",
    ],
)
def test_another_database_on_the_same_server_changes_nothing_else(url: str) -> None:
    changed = conninfo_to_dict(with_database(url, 'a "b"/c'))
    assert changed == {**conninfo_to_dict(url), "dbname": 'a "b"/c'}
    assert database_name(with_database(url, "other")) == "other"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@host:1/shop", "postgresql://ann:***@host:1/shop"),
        ("postgresql://ann@host/shop", "postgresql://ann@host/shop"),
        ("postgresql://host/shop?user=ann&password=secret", "postgresql://host/shop?user=ann&password=***"),
        ("postgresql://postgres@/shop?host=/a/b", "postgresql://postgres@/shop?host=/a/b"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "address", ["head", "ray://head:10001", "http://head", "http://:8265", "http://head:port", ""]
)
def test_what_is_no_address_of_a_head_is_refused(address: str) -> None:
    with pytest.raises(ServerError, match=r"^X is not the address of the head .* http://HOST:8265"):
        checked_head(address, name="X")


def test_a_password_in_the_address_of_a_head_is_refused_and_not_shown() -> None:
    with pytest.raises(ServerError) as refused:
        checked_head("http://me:s3cret@head:8265", name="X")
    assert "s3cret" not in str(refused.value)


def test_the_address_of_a_head_has_one_form() -> None:
    assert checked_head(" https://head:8265/ ", name="X") == "https://head:8265"
