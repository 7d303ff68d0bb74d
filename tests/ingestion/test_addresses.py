"""What of a URL is shown and stored, and which URLs are refused."""

import pytest

from eventstore.ingestion.addresses import asked_for, checked, has_secrets, is_address, shown, without_secrets
from eventstore.ingestion.files import InputFileError

SECRET = [
    "https://me:hush@host/in/a.ndjson",
    "https://host/in/a.ndjson?X-Amz-Credential=hush&X-Amz-Signature=hush",
    "https://host/in/a.ndjson?sv=2026&sig=hush%3D",
    "https://host/in/a.ndjson#hush",
    "https://hush@host/in/a.ndjson?hush#hush",
    "s3://hush:hush@bucket/a.ndjson",
    "az://container/a.ndjson?sig=hush",
    "HTTPS://me:hu/sh@host/a.ndjson?hush",
]


@pytest.mark.parametrize("address", SECRET[:-1])
def test_nothing_that_may_be_a_secret_is_shown(address: str) -> None:
    assert has_secrets(address)
    assert "hush" not in shown(address)
    assert "hush" not in without_secrets(f"GET '{address}' failed, url={address}, ({address}) <{address}>")
    assert shown(address).endswith("a.ndjson")


@pytest.mark.parametrize(
    "address",
    [
        "s3://me:hush/hush@bucket/a.ndjson",
        "http://me:hush/hush@host/a.ndjson",
        "https://me:hush?hush@host/a.ndjson?sig=hush@hush",
        "https://me:hush#hush@host/a.ndjson",
    ],
)
def test_of_a_password_of_which_nobody_knows_where_it_ends_nothing_is_shown(address: str) -> None:
    assert has_secrets(address)
    with pytest.raises(InputFileError) as raised:
        checked(address)
    assert "hush" not in shown(address) + str(raised.value)


def test_what_is_no_secret_is_shown_whole() -> None:
    for address in ("https://host:8443/in/ä%20b@c.ndjson.gz", "s3://bucket/in/a b@c.ndjson"):
        assert not has_secrets(address)
        assert shown(address) == address


@pytest.mark.parametrize(
    "address", ["s3://k:hush@b/a", "s3://b/a?hush", "gs://b/a#hush", "az://b/a?sig=hush"]
)
def test_credentials_in_the_url_of_a_bucket_are_refused_without_being_shown(address: str) -> None:
    with pytest.raises(InputFileError, match="AWS_ACCESS_KEY_ID") as raised:
        checked(address)
    assert "hush" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("address", ["s3://", "https://", "https:///a", "https://host:no/a", "http://[/a"])
def test_a_url_without_a_host_or_bucket_is_refused(address: str) -> None:
    with pytest.raises(InputFileError, match="names no"):
        checked(address)


def test_what_signs_a_url_does_not_make_it_another_file() -> None:
    first, second = (
        "https://h/a?day=1&X-Amz-Signature=x&Expires=1",
        "https://h/a?X-Amz-Signature=y&day=1&sig=z",
    )
    assert asked_for(first) == asked_for(second) == "day=1"
    assert asked_for("https://h/a?day=2&sig=z") != asked_for(first)


def test_paths_are_no_urls() -> None:
    for path in ("a.ndjson", "/s3/a", "s3:/a", "ftp://host/a", "file:///a"):
        assert not is_address(path)
