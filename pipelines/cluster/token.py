"""The token that the head of a Ray cluster wants from everybody, in a file of the home folder."""

import os
import secrets
from pathlib import Path

from eventstore.server import settings

_MODE, _FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH"


def token_file() -> Path:
    """Not necessarily there: a cluster elsewhere may be told its token by the environment."""
    return settings.home() / "ray.token"


def made_token() -> Path:
    """The file, with a new token where there was none; nobody else can read it."""
    file = token_file()
    settings.made(file.parent)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file
    with os.fdopen(descriptor, "w") as opened:
        opened.write(secrets.token_hex(32))
    return file


def use_token() -> None:
    """Let this process and its children show the token of the home folder, unless they are told another."""
    if _MODE not in os.environ and token_file().exists():
        os.environ[_MODE] = "token"
        os.environ.setdefault(_FILE, str(token_file()))
