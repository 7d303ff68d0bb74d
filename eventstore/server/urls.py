"""Database URLs: check them, change the database they name, show them without a password."""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from eventstore.server.errors import ServerError

_EXPECTED = "expected postgresql://USER:PASSWORD@HOST:5432/DATABASE"


def checked(url: str, *, name: str = "DATABASE_URL") -> str:
    """The same URL in the form that every library here takes.

    ``name`` says in the error where the URL came from. The error never shows the URL: it may hold a password.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        raise ServerError(f"{name} is not a URL: {_EXPECTED}")
    if scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ServerError(f"{name} is of the kind {scheme!r}: only PostgreSQL is supported, {_EXPECTED}")
    url = f"postgresql://{rest}"
    try:
        urlsplit(url)
        parameters = conninfo_to_dict(url)
    except (ValueError, psycopg.Error):
        raise ServerError(
            f"{name} cannot be read as a URL: {_EXPECTED}; "
            "in the user, the password and the database write @ : / ? # % as %40 %3A %2F %3F %23 %25"
        ) from None
    if not parameters.get("dbname"):
        raise ServerError(f"{name} names no database: {_EXPECTED}")
    return url


def database_name(url: str) -> str:
    """The database that ``url`` names."""
    return str(conninfo_to_dict(url)["dbname"])


def with_database(url: str, database: str) -> str:
    """The same server and login, another database."""
    parts = urlsplit(url)
    options = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "dbname"]
    query = urlencode(options, safe="/", quote_via=quote)
    return urlunsplit(parts._replace(path="/" + quote(database, safe=""), query=query))


def without_password(url: str) -> str:
    """The URL as it may be shown and logged."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    secrets = {"password", "sslpassword"}
    options = [
        (key, "***" if key in secrets else value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = unquote(urlencode(options, safe="/*", quote_via=quote))
    return urlunsplit(parts._replace(netloc=f"{user}{':***' if colon else ''}{at}{host}", query=query))
