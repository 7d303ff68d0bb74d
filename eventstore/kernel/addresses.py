"""What is secret in an address, and what is shown of it, also where somebody mistyped it."""

import re

#: The schemes under which files are read.
SCHEMES = ("s3", "gs", "az", "https", "http")

_HOST = re.compile(r"(\[[^\]]*\]?|[^:]*)(:\d*)?")
#: No scheme is longer: a long word is looked through once, not again from each of its letters.
_BEGINNING = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]{0,30}:/+")
_WORD = re.compile(r"[^\s'\"]+")
_HIDDEN = "…"
#: None, one that is hidden already, and that of our own example.
_NO_PASSWORDS = {"", "***", "PASSWORD"}


def has_secrets(address: str) -> bool:
    """Whether it holds what is not shown: a user, a query such as a signature, a fragment."""
    return (
        any(each in address for each in "?#")
        or "@" in address.partition("://")[2].partition("/")[0]
        or is_unclear(address)
    )


def is_unclear(address: str) -> bool:
    """Whether a password with / or ? or # in it seems to stand there: nobody can tell where it ends."""
    rest = address.partition("://")[2]
    host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return "@" in rest and not _HOST.fullmatch(host)


def begins_like_one(text: str) -> bool:
    """Whether somebody meant an address: `https:/host`, ` ftp://host`. No path begins so."""
    return bool(_BEGINNING.match(text))


def beginning_of(text: str) -> str:
    """So much of a mistyped address as can be shown."""
    found = _BEGINNING.match(text)
    return f"{found[0].strip()}{_HIDDEN}" if found else _HIDDEN


def without_logins(text: str) -> str:
    """A text in which nothing looks like `user:password@` any more. Every error of the store goes through."""
    return _WORD.sub(_without_login, text) if "@" in text and ":" in text else text


def _without_login(word: re.Match[str]) -> str:
    login, at, rest = word[0].rpartition("@")
    scheme = _BEGINNING.search(login)
    before, login = (login[: scheme.end()], login[scheme.end() :]) if scheme else ("", login)
    password = login.partition(":")[2]
    return word[0] if not at or password in _NO_PASSWORDS else f"{before}{_HIDDEN}@{rest}"
