"""What eventstore.toml may say, and how it is told what it may not."""

import os
from pathlib import Path

import msgspec
import pytest

from eventstore.server.errors import ServerError
from eventstore.server.machine import FILE, Machine, read_machine


@pytest.fixture
def say(tmp_path: Path) -> Path:
    return tmp_path / FILE


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert read_machine(tmp_path) == Machine()
    assert read_machine(tmp_path / "not there") == Machine()
    (tmp_path / "a file").touch()
    assert read_machine(tmp_path / "a file") == Machine()


def test_each_key_is_read(tmp_path: Path, say: Path) -> None:
    say.write_text(
        "# of this machine\n"
        'database_url = "postgresql://shop@db/shop?sslmode=require"\nembedded = false\nlanding = "/data/in"\n'
        "port = 3001\nconcurrent_runs = 20\nruns_per_pool = 5\n"
    )
    assert read_machine(tmp_path) == Machine(
        database_url="postgresql://shop@db/shop?sslmode=require",
        embedded=False,
        landing="/data/in",
        port=3001,
        concurrent_runs=20,
        runs_per_pool=5,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prt = 3000", 'there is no setting "prt"; there are: database_url, embedded, '),
        ("[server]\nport = 3000", 'there is no setting "server"'),
        ('"\\u001b[31m" = 1', 'there is no setting "\\u001b[31m"'),
        ('port = "3000"', "port: expected a whole number, got a text"),
        ("port = true", "port: expected a whole number, got true or false"),
        ("port = 3000.5", "port: expected a whole number, got a number with a point"),
        ("port = 0", "port: expected a whole number >= 1"),
        ("port = 65536", "port: expected a whole number <= 65535"),
        ("port = [3000]", "port: expected a whole number, got a list"),
        ("port.x = 3000", "port: expected a whole number, got a table"),
        ("embedded = 1", "embedded: expected true or false, got a whole number"),
        ("landing = 5", "landing: expected a text, got a whole number"),
        ('landing = ""', "landing: expected a text of length >= 1"),
        ("runs_per_pool = -1", "runs_per_pool: expected a whole number >= 1"),
        ("port = 3000\nport = 3001", "is not TOML: Cannot overwrite a value"),
        ("port 3000", "is not TOML: Expected '=' after a key in a key/value pair (at line 1"),
        ("x = " + "[" * 5000, "is not TOML: "),
        ('database_url = "mysql://db/shop"', "database_url is of the kind 'mysql'"),
        ('database_url = "shop"', "database_url is not a URL"),
    ],
)
def test_what_it_may_not_say_is_refused_in_one_line_with_the_file_and_the_key(
    tmp_path: Path, say: Path, text: str, says: str
) -> None:
    say.write_text(text)
    with pytest.raises(ServerError) as refused:
        read_machine(tmp_path)
    said = str(refused.value)
    assert str(say) in said
    assert says in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:hush@db/shop",
        "postgresql://shop@db/shop?password=hush",
        "postgresql://shop@db/shop?sslpassword=hush",
        "postgres://shop:hush@/shop?host=/run",
        "postgresql+psycopg://shop:hush@db/shop",
        "postgresql://shop:hush@",
        "mysql://shop:hush@db/shop",
        "shop:hush",
    ],
)
def test_a_password_is_refused_and_not_shown(tmp_path: Path, say: Path, url: str) -> None:
    say.write_text(f'database_url = "{url}"')
    with pytest.raises(ServerError) as refused:
        read_machine(tmp_path)
    assert str(say) in str(refused.value)
    assert "hush" not in str(refused.value)


def test_another_key_that_holds_a_secret_is_refused_and_not_shown(tmp_path: Path, say: Path) -> None:
    for line in ('password = "hush"', 'port = "hush"', "port = hush", 'landing = ["hush"]'):
        say.write_text(line)
        with pytest.raises(ServerError) as refused:
            read_machine(tmp_path)
        assert "hush" not in str(refused.value), line


@pytest.mark.parametrize(
    "url",
    ["s3://me:hush@bucket/in", "s3://bucket/in?hush", "https://host/in#hush", "s3://me:hush/hush@bucket/in"],
)
def test_a_landing_url_with_what_may_be_a_secret_is_refused_and_not_shown(
    tmp_path: Path, say: Path, url: str
) -> None:
    say.write_text(f'landing = "{url}"')
    with pytest.raises(ServerError, match="may be a secret") as refused:
        read_machine(tmp_path)
    assert "hush" not in str(refused.value)


def test_a_landing_url_with_a_port_or_an_at_in_its_path_is_taken(tmp_path: Path, say: Path) -> None:
    for url in ("https://host:8443/in@shop", "https://[::1]:8443/in", "s3://bucket/in@shop"):
        say.write_text(f'landing = "{url}"')
        assert read_machine(tmp_path).landing == url


def test_the_mark_that_some_editors_put_in_front_is_no_mistake(tmp_path: Path, say: Path) -> None:
    say.write_text("port = 3001\n", encoding="utf-8-sig")
    assert read_machine(tmp_path).port == 3001


def test_what_is_no_text_cannot_be_read(tmp_path: Path, say: Path) -> None:
    say.write_bytes(b"port = 3000 # \xff")
    with pytest.raises(ServerError, match="is not UTF-8"):
        read_machine(tmp_path)
    say.unlink()
    say.mkdir()
    with pytest.raises(ServerError, match=f"cannot read .*{FILE}: Is a directory"):
        read_machine(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error_not_a_default(tmp_path: Path, say: Path) -> None:
    say.write_text("embedded = false")
    say.chmod(0)
    with pytest.raises(ServerError, match="Permission denied"):
        read_machine(tmp_path)


def test_every_key_is_documented_where_it_is_defined() -> None:
    for field in msgspec.structs.fields(Machine):
        [meta] = field.type.__metadata__
        assert len(meta.description) > 20, field.name
