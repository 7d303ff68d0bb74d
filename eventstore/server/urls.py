"""Database URLs: check them, change the database they name, show them without a password."""

import os
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from eventstore.kernel.addresses import begins_like_one
from eventstore.server.errors import ServerError

_EXPECTED = "expected postgresql://USER:PASSWORD@HOST:5432/DATABASE"


def refuse_url(text: str, *, name: str) -> None:
    """Raise ServerError where a folder is wanted and ``text`` begins as a URL does, which may be secret."""
    if begins_like_one(text):
        raise ServerError(f"{name} must be a folder: this begins as a URL does")


def checked(url: str, *, name: str = "DATABASE_URL") -> str:
    """The same URL in the form that every library here takes.

    ``name`` says in the error where the URL came from. The error never shows the URL: it may hold a password.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        raise ServerError(f"{name} is not a URL: {_EXPECTED}")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        kind = f"is of the kind {scheme!r}" if begins_like_one(f"{scheme}:/") else "is of another kind"
        raise ServerError(f"{name} {kind}: only PostgreSQL is supported, {_EXPECTED}")
    url = f"postgresql://{rest}"
    unreadable = ServerError(
        f"{name} cannot be read as a URL: {_EXPECTED}; "
        "in the user, the password and the database write @ : / ? # % as %40 %3A %2F %3F %23 %25"
    )
    try:
        parts = urlsplit(url)
        parameters = conninfo_to_dict(url)
    except (ValueError, psycopg.Error):
        raise unreadable from None
    if "#" in url or url.count("@") != parts.netloc.count("@") or parts.netloc.count("@") > 1:
        raise unreadable
    if not parameters.get("dbname"):
        raise ServerError(f"{name} names no database: {_EXPECTED}")
    return url


def checked_head(url: str, *, name: str) -> str:
    """The address of the head of a Ray cluster, as it is asked for jobs. No error shows what was given."""
    unfit = ServerError(f"{name} is not the address of the head of a Ray cluster: expected http://HOST:8265")
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port is not None
    except ValueError:
        raise unfit from None
    if parts.scheme not in {"http", "https"} or not (parts.hostname and has_port):
        raise unfit
    if parts.username is not None or parts.query or parts.fragment or parts.path not in {"", "/"}:
        raise ServerError(f"{name} may only hold http://HOST:8265: a token stands in RAY_AUTH_TOKEN_PATH")
    return f"{parts.scheme}://{parts.netloc}"


def is_socket(url: str) -> bool:
    """Whether any server that ``url`` names is a Unix socket, which no other machine reaches."""
    said = conninfo_to_dict(url)
    if said.get("hostaddr"):
        return False
    hosts = str(said.get("host") or os.environ.get("PGHOST") or "").split(",")
    return any(not host or host.startswith(("/", "@")) for host in hosts)


def database_name(url: str) -> str:
    """The database that ``url`` names."""
    return str(conninfo_to_dict(url)["dbname"])


def with_database(url: str, database: str) -> str:
    """The same server and login, another database."""
    options = [pair for pair in _options(url) if pair[0] != "dbname"]
    return _url(urlsplit(url).netloc, "/" + quote(database, safe=""), options)


def without_password(url: str) -> str:
    """The URL as it may be shown and logged."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    options = [(key, "***" if key in {"password", "sslpassword"} else value) for key, value in _options(url)]
    return _url(f"{user}{':***' if colon else ''}{at}{host}", parts.path, options)


def _options(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True)


def _url(netloc: str, path: str, options: list[tuple[str, str]]) -> str:
    """Put together by hand: urlunsplit() drops the slashes of a URL without a host."""
    query = urlencode(options, safe="/*", quote_via=quote)
    return f"postgresql://{netloc}{path}{'?' if query else ''}{query}"
