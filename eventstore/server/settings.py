"""What this machine is told: by the environment, else by ``eventstore.toml`` in the home folder."""

import os
from pathlib import Path
from typing import NamedTuple

from eventstore.kernel.buckets import DEFAULT, POSSIBLE, is_possible
from eventstore.kernel.shown import shown
from eventstore.server import embedded
from eventstore.server.errors import ServerError
from eventstore.server.machine import FILE, Machine, read_machine
from eventstore.server.processors import processors
from eventstore.server.urls import checked, checked_head, database_name, refuse_url, with_database

#: The variables that are read here and elsewhere, and what each says.
VARIABLES = {
    "EVENTSTORE_HOME": "the folder of eventstore.toml and of all that is kept outside a database of yours; "
    ".eventstore in the current folder by default",
    "DATABASE_URL": "your own PostgreSQL 15 to 18, postgresql://user:password@host/database",
    "DATABASE_URL_FILE": "a file with that URL, such as a secret of Docker or Kubernetes; DATABASE_URL wins",
    "READ_URL": "a replica of that database: reads go there, appends do not",
    "PORT": "the port of Dagster's web pages",
    "EVENTSTORE_SEAL_KEY": "the private key that signs checkpoints of seals, instead of the file seal.key",
    "EVENTSTORE_TSA_URL": "a time stamp authority (RFC 3161) for checkpoints",
    "EVENTSTORE_TSA_CERTIFICATES": "a PEM file with the certificates that its stamps are checked by",
    "EVENTSTORE_BACKUPS": "the folder where backups are kept, best on another disk; without it none is taken "
    "by the clock",
    "EVENTSTORE_RAY_ADDRESS": "the head of a Ray cluster whose nodes execute the runs, http://host:8265; "
    "none: this machine does",
    "EVENTSTORE_BUCKETS": "into how many buckets a log without events is split, as buckets in the file "
    "says it",
    "EVENTSTORE_CPUS": "how many processors to plan runs for; those of the cluster or of this machine by "
    "default",
    "ALERT_WEBHOOK_URL": "where alerts are posted, such as an incoming webhook of Slack; none: nowhere",
    "ALERT_WEBHOOK_URL_FILE": "a file with that URL; ALERT_WEBHOOK_URL wins",
    "SMTP_PASSWORD": "the password of smtp_user, for alerts by mail",
    "SMTP_PASSWORD_FILE": "a file with that password; SMTP_PASSWORD wins",
}


class Given(NamedTuple):
    """What somebody said, and where."""

    value: str
    where: str  #: a variable of the environment, or the file


def home() -> Path:
    """The folder of everything kept outside a database of yours; absolute, not necessarily there yet.

    A child process in another folder must be given this path: the default depends on the current folder.
    """
    said = os.environ.get("EVENTSTORE_HOME") or ".eventstore"
    refuse_url(said, name="EVENTSTORE_HOME")
    return Path(said).expanduser().absolute()


def file() -> Path:
    """``eventstore.toml``; not necessarily there."""
    return home() / FILE


def machine() -> Machine:
    """What the file says. Raises ServerError where it says what it may not."""
    return read_machine(home())


def landing() -> Path:
    """Where producers leave files for ingestion. Raises ServerError where that is not on this machine."""
    where = landing_place()
    if isinstance(where, str):
        raise ServerError(f"{file()}: landing is a URL; this needs a folder of this machine")
    return where


def landing_place() -> Path | str:
    """The same, or the URL of a folder in an object store."""
    said = machine().landing
    return said if "://" in said else home() / Path(said).expanduser()


def move_files() -> bool:
    """Whether files leave the landing folder when they were read."""
    return machine().move_files


def checkpoints() -> Path:
    """Where copies of the checkpoints of seals are kept."""
    return home() / Path(machine().checkpoints).expanduser()


def made(folder: Path) -> Path:
    """Make a folder of the home where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServerError(
            f"cannot make the folder {folder} ({error.strerror}): set EVENTSTORE_HOME to a folder of yours"
        ) from None
    return folder


def made_landing() -> Path | str:
    """Make the landing folder where it is missing; one at a URL is not ours to make."""
    where = landing_place()
    return where if isinstance(where, str) else made(where)


def dagster_home() -> Path:
    """DAGSTER_HOME: dagster.yaml and the logs of its runs."""
    return home() / "dagster"


def port() -> int:
    """Of Dagster's web pages."""
    said = _variable("PORT")
    if not said:
        return machine().port
    if not (said.isascii() and said.isdecimal() and 1 <= int(said[:6]) <= 65535):
        raise ServerError("PORT is not a port: give a whole number from 1 to 65535")
    return int(said)


def given_url() -> Given | None:
    """The URL of a database that somebody named; None where nobody did."""
    if url := _variable("DATABASE_URL"):
        return Given(checked(url), "DATABASE_URL")
    if name := _variable("DATABASE_URL_FILE"):
        return Given(checked(_secret("DATABASE_URL_FILE"), name=f"the URL in {name}"), "DATABASE_URL_FILE")
    said = machine().database_url
    return Given(checked(said), FILE) if said else None


def database_url() -> str:
    """The database that somebody named, else that of the embedded PostgreSQL, which this starts.

    The database of the embedded server exists; one that somebody named may not (``ensure_database``).
    """
    given = given_url()
    if given:
        return given.value
    if not machine().embedded:
        raise ServerError(
            f"no database is named, and {file()} says embedded = false: set DATABASE_URL, DATABASE_URL_FILE "
            "or database_url there"
        )
    return embedded.start(home())


def read_url() -> str | None:
    """A replica of that database, where reads are sent; None where they are not."""
    if url := _variable("READ_URL"):
        return checked(url, name="READ_URL")
    said = machine().read_url
    return checked(said, name=f"{file()}: read_url") if said else None


def ray_address() -> str | None:
    """The head of the Ray cluster whose nodes execute the runs; None where this machine does."""
    if url := _variable("EVENTSTORE_RAY_ADDRESS"):
        return checked_head(url, name="EVENTSTORE_RAY_ADDRESS")
    said = machine().ray_address
    return checked_head(said, name=f"{file()}: ray_address") if said else None


def concurrent_runs() -> int:
    """How many runs there are at the same time: on a cluster each takes half a processor."""
    return machine().concurrent_runs or max(8, 2 * processors())


def replay_runs() -> int:
    """How many of these replay: the others find the other half."""
    return machine().replay_runs or max(2, processors())


def given_buckets() -> int | None:
    """The number of buckets that somebody said; None where nobody did."""
    said = _variable("EVENTSTORE_BUCKETS")
    if not said:
        return machine().buckets
    number = int(said) if said.isascii() and said.isdecimal() and len(said) <= 3 else 0
    if not is_possible(number):
        raise ServerError(f"EVENTSTORE_BUCKETS cannot be {shown(said)}: give {POSSIBLE}")
    return number


def buckets() -> int:
    """How many buckets Dagster takes the log to have: to define its partitions it asks no database."""
    return given_buckets() or DEFAULT


def how_to_say_buckets(number: int) -> str:
    """What makes ``buckets()`` another number."""
    if _variable("EVENTSTORE_BUCKETS"):
        return f"set EVENTSTORE_BUCKETS={number}"
    return f"write buckets = {number} into {file()}"


def buckets_per_run() -> int:
    """To start a run takes seconds, so one takes some buckets; but there must be runs for all processors."""
    said = machine().buckets_per_run
    return said or max(1, buckets() // max(4, 2 * replay_runs()))


def backups() -> Path | None:
    """Where backups are kept; None where none are taken by the clock."""
    if folder := _variable("EVENTSTORE_BACKUPS"):
        refuse_url(folder, name="EVENTSTORE_BACKUPS")
        return Path(folder).expanduser().absolute()
    said = machine().backups
    return home() / Path(said).expanduser() if said else None


def backup_days() -> int:
    """How far back one can go."""
    return machine().backup_days


def embedded_home() -> Path | None:
    """The home of the embedded PostgreSQL, or None where somebody named a server that is not ours."""
    return None if given_url() else home()


def dagster_database_url(url: str) -> str:
    """Dagster's own database beside the one at ``url``. A plain "dagster" could be another team's."""
    return with_database(url, f"{database_name(url)}_dagster")


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def secret(name: str, what: str) -> str | None:
    """What the variable ``name`` says, else the file that ``name``_FILE names; None where neither is set.

    ``what`` says in errors what it is; none of them shows it.
    """
    if said := _variable(name):
        return said
    return _secret(f"{name}_FILE", what) if _variable(f"{name}_FILE") else None


def _secret(variable: str, what: str = "the URL of the database") -> str:
    """The one line of the file that a variable names; no error shows what is in it."""
    name = _variable(variable)
    try:
        text = Path(name).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ServerError(f"cannot read {name}, which {variable} names: {reason}") from None
    if len(text.splitlines()) != 1:
        raise ServerError(f"{name}, which {variable} names, must hold one line: {what}")
    return text
