"""URLs of files: which there are, and how they are shown and stored, which is without anything secret."""

import re
from urllib.parse import urlsplit

from eventstore.ingestion.files import InputFileError, printable
from eventstore.kernel.addresses import has_secrets, is_unclear, without_logins

__all__ = [
    "EXTRAS",
    "asked_for",
    "checked",
    "has_secrets",
    "is_address",
    "is_http",
    "quoted",
    "scheme_of",
    "shown",
    "without_secrets",
]

#: The extra of this package that reads each.
EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "http": "http", "https": "http"}

_ADDRESS = re.compile(rf"({'|'.join(EXTRAS)})://", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^\s/?#@'\"]*@")
_QUERY = re.compile(r"(?<=\S)[?#][^\s'\")>]*")
#: Parameters of presigned URLs of S3, CloudFront, Google and Azure, which are new each time.
_SIGNS = re.compile(
    r"(x-amz-|x-goog-|(signature|expires|policy|key-pair-id|awsaccesskeyid|googleaccessid|sig|se|st|sp|sv|sr|spr"
    r"|skoid|sktid|skt|ske|sks|skv)=)",
    re.IGNORECASE,
)
_UNSAFE = {ord(each): f"%{ord(each):02X}" for each in "?#%@"}


def is_address(path: object) -> bool:
    """Whether somebody meant a URL, not a path."""
    return isinstance(path, str) and bool(_ADDRESS.match(path))


def scheme_of(address: str) -> str:
    return address.partition("://")[0].lower()


def is_http(address: str) -> bool:
    return scheme_of(address) in {"http", "https"}


def shown(address: str) -> str:
    """Without user, password, query and fragment, on one line."""
    scheme, _, rest = address.partition("://")
    if is_unclear(address):
        return printable(f"{scheme.lower()}://…")
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    host, slash, path = place.partition("/")
    return printable(f"{scheme.lower()}://{host.rpartition('@')[2]}{slash}{path}")


def without_secrets(text: str) -> str:
    """The first line of a text in which there may be URLs, such as a message of somebody else's code."""
    return printable(without_logins(_QUERY.sub("", _USERINFO.sub("", text.partition("\n")[0]))))


def checked(address: str) -> str:
    """A URL as it can be opened. Raises InputFileError, without showing any of it that may be a secret."""
    address = f"{scheme_of(address)}://{address.partition('://')[2]}"
    if not is_http(address) and has_secrets(address):
        raise InputFileError(
            f"{shown(address)}: leave out what stands before @, and from ? or # on: credentials are given as "
            "the tools of that store read them, such as AWS_ACCESS_KEY_ID"
        )
    try:
        host = urlsplit(address).hostname
        if is_http(address):
            urlsplit(address).port  # noqa: B018
    except ValueError:
        host = None
    if not host:
        raise InputFileError(
            f"{shown(address)}: this URL names no {'host' if is_http(address) else 'bucket'}"
        )
    return address.partition("#")[0] if is_http(address) else address


def asked_for(address: str) -> str:
    """What its query asks for, without what only signs it: two such URLs can be two files."""
    query = urlsplit(address).query.split("&")
    return "&".join(sorted(each for each in query if each and not _SIGNS.match(each)))


def quoted(key: str) -> str:
    """The name of an object as a part of a URL that is shown."""
    return key.translate(_UNSAFE)
