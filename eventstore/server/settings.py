"""All that comes from the environment: EVENTSTORE_HOME, DATABASE_URL, READ_URL and the backups."""

import os
from pathlib import Path

from eventstore.server import embedded
from eventstore.server.errors import ServerError
from eventstore.server.urls import checked, database_name, with_database


def home() -> Path:
    """The folder of everything kept outside a database of yours; absolute, not necessarily there yet.

    A child process in another folder must be given this path: the default depends on the current folder.
    """
    return Path(os.environ.get("EVENTSTORE_HOME") or ".eventstore").expanduser().absolute()


def landing() -> Path:
    """Where producers leave files for ingestion."""
    return home() / "landing"


def made(folder: Path) -> Path:
    """Make a folder of the home where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(
            f"cannot make the folder {folder} ({error.strerror}): set EVENTSTORE_HOME to a folder of yours"
        ) from None
    return folder


def dagster_home() -> Path:
    """DAGSTER_HOME: dagster.yaml and the logs of its runs."""
    return home() / "dagster"


def database_url() -> str:
    """DATABASE_URL where it is set, else the embedded PostgreSQL, which this starts.

    The database of the embedded server exists; the one DATABASE_URL names may not (``ensure_database``).
    """
    url = os.environ.get("DATABASE_URL", "").strip()
    return checked(url) if url else embedded.start(home())


def read_url() -> str | None:
    """READ_URL: a replica of that database, where reads are sent; None where they are not."""
    url = os.environ.get("READ_URL", "").strip()
    return checked(url, name="READ_URL") if url else None


def backups() -> Path | None:
    """EVENTSTORE_BACKUPS: where backups are kept; None where none are taken by the clock."""
    folder = os.environ.get("EVENTSTORE_BACKUPS", "").strip()
    return Path(folder).expanduser().absolute() if folder else None


def backup_days() -> int:
    """EVENTSTORE_BACKUP_DAYS: how far back one can go; a week."""
    text = os.environ.get("EVENTSTORE_BACKUP_DAYS", "").strip() or "7"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 36_500):
        raise ServerError(f"EVENTSTORE_BACKUP_DAYS is {text!r}: expected a number of days, 1 or more")
    return int(text)


def embedded_home() -> Path | None:
    """The home of the embedded PostgreSQL, or None where DATABASE_URL names a server that is not ours."""
    return None if os.environ.get("DATABASE_URL", "").strip() else home()


def dagster_database_url(url: str) -> str:
    """Dagster's own database beside the one at ``url``. A plain "dagster" could be another team's."""
    return with_database(url, f"{database_name(url)}_dagster")
