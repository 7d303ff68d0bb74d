"""Facts of a machine: the keys of ``eventstore.toml`` in the home folder, defined and documented here."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from psycopg.conninfo import conninfo_to_dict

from eventstore.kernel.addresses import SCHEMES, begins_like_one, has_secrets
from eventstore.kernel.buckets import POSSIBLE, is_possible
from eventstore.kernel.shown import printable, shown
from eventstore.server.errors import ServerError
from eventstore.server.urls import checked, checked_head, refuse_url

FILE = "eventstore.toml"


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the file may say. A variable of the environment, where there is one, says it with more weight."""

    database_url: Annotated[
        str | None,
        Meta(
            description="your own PostgreSQL, postgresql://user@host/database; no password stands here",
            extra={"variable": "DATABASE_URL"},
        ),
    ] = None
    embedded: Annotated[
        bool, Meta(description="whether a PostgreSQL of its own is started where no database is named")
    ] = True
    landing: Annotated[
        str,
        Meta(
            min_length=1,
            description="the folder for files to be ingested; a relative one is in the home folder; or a "
            "URL, such as s3://bucket/landing",
        ),
    ] = "landing"
    move_files: Annotated[
        bool,
        Meta(
            description="whether files of the landing folder that were read are moved, to done or failed in "
            "it; false: they stay where they are"
        ),
    ] = True
    checkpoints: Annotated[
        str,
        Meta(
            min_length=1,
            description="the folder for copies of checkpoints of seals; a relative one is in the home folder",
        ),
    ] = "checkpoints"
    port: Annotated[
        int,
        Meta(ge=1, le=65535, description="the port of Dagster's web pages", extra={"variable": "PORT"}),
    ] = 3000
    read_url: Annotated[
        str | None,
        Meta(
            description="a replica of that database, where reads are sent; no password stands here",
            extra={"variable": "READ_URL"},
        ),
    ] = None
    backups: Annotated[
        str | None,
        Meta(
            description="the folder where backups are kept, best on another disk; without it none are taken",
            extra={"variable": "EVENTSTORE_BACKUPS", "example": "/mnt/backups"},
        ),
    ] = None
    backup_days: Annotated[
        int, Meta(ge=1, le=36500, description="to how many days ago one can go back by a backup")
    ] = 7
    concurrent_runs: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="how many runs, each a process, Dagster has at the same time; two for each "
            "processor, at least 8, where nothing is said",
            extra={"example": 8},
        ),
    ] = None
    runs_per_pool: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="how many of these may ingest, or refresh a table, at once",
        ),
    ] = 2
    replay_runs: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="how many of these may replay at once; one for each processor, at least 2, where "
            "nothing is said",
            extra={"example": 2},
        ),
    ] = None
    buckets: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        Meta(
            description="into how many buckets `init` splits a log without events, and how many partitions "
            "Dagster replays; a power of two, 16 where nothing is said",
            extra={"variable": "EVENTSTORE_BUCKETS", "example": 16},
        ),
    ] = None
    buckets_per_run: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | None,
        Meta(
            description="how many buckets of the log a run of a replay takes; where nothing is said a "
            "quarter of them, and fewer where more processors than 2 share them",
            extra={"example": 4},
        ),
    ] = None
    ray_address: Annotated[
        str | None,
        Meta(
            description="the head of a Ray cluster, http://host:8265: runs are executed on its nodes; "
            "without it on this machine",
            extra={"variable": "EVENTSTORE_RAY_ADDRESS", "example": "http://head:8265"},
        ),
    ] = None
    alert_mail_to: Annotated[
        str, Meta(description="who gets alerts by mail: addresses with commas between; empty: nobody")
    ] = ""
    alert_mail_from: Annotated[
        str, Meta(description="the sender of these mails; empty: the first of those who get them")
    ] = ""
    smtp_server: Annotated[str, Meta(description="the server that takes the mails, HOST or HOST:PORT")] = ""
    smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description='how it is spoken to: "starttls" (port 587), "tls" (465) or "none" (25)'),
    ] = "starttls"
    smtp_user: Annotated[
        str, Meta(description="who logs in there, with SMTP_PASSWORD; empty: nobody does")
    ] = ""
    web_url: Annotated[
        str, Meta(description="where others reach Dagster's web pages: the links in alerts begin so")
    ] = ""
    owners: Annotated[
        str,
        Meta(
            description="who answers for the tables, shown on Dagster's pages: team:NAME or mail addresses, "
            "with commas between"
        ),
    ] = "team:orders"

    def each_owner(self) -> list[str]:
        """The owners, one by one."""
        return [each.strip() for each in self.owners.split(",") if each.strip()]


_LANDING_URLS = ", ".join(f"{scheme}://" for scheme in SCHEMES)
#: As Dagster takes them.
_OWNER = re.compile(r"team:[A-Za-z0-9_]+|[^@\s]+@[^@\s]+\.[^@\s]+")
_KINDS = {
    "`str | null`": "a text",
    "`int | null`": "a whole number",
    "`str`": "a text",
    "`int`": "a whole number",
    "`bool`": "true or false",
    "`float`": "a number with a point",
    "`array`": "a list",
    "`object`": "a table",
}


def read_machine(home: Path) -> Machine:
    """What the file of a home folder says; the defaults where there is none.

    Raises ServerError in one line, with the file and the key, for what it may not say.
    """
    file, said = home / FILE, read_file(home)
    known = Machine.__struct_fields__
    for key in said:
        if key not in known:
            raise ServerError(f"{file}: there is no setting {shown(key)}; there are: {', '.join(known)}")
    try:
        machine = msgspec.convert(said, Machine)
    except msgspec.ValidationError as error:
        raise ServerError(f"{file}: {_in_words(str(error))}") from None
    for name in ("database_url", "read_url"):
        if url := getattr(machine, name):
            _refuse_password(checked(url, name=f"{file}: {name}"), file, name)
    _check_landing(machine.landing, file)
    if machine.buckets is not None and not is_possible(machine.buckets):
        raise ServerError(f"{file}: buckets: {machine.buckets} cannot be: give {POSSIBLE}")
    for name in ("checkpoints", "backups"):
        refuse_url(getattr(machine, name) or "", name=f"{file}: {name}")
    if machine.ray_address is not None:
        checked_head(machine.ray_address, name=f"{file}: ray_address")
    for owner in machine.each_owner():
        if not _OWNER.fullmatch(owner):
            raise ServerError(
                f"{file}: owners: {shown(owner)} is neither team:NAME (letters, digits, _) nor an address"
            )
    return machine


def read_file(home: Path) -> dict[str, Any]:
    """The keys that stand in the file, whatever they are. Raises ServerError where it cannot be read."""
    file = home / FILE
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ServerError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ServerError(f"{file} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ServerError(f"{file} is not TOML: {printable(str(error))}") from None


def _in_words(error: str) -> str:
    """``Expected `int`, got `str` - at `$.port` `` with the key first."""
    problem, _, place = error.partition(" - at ")
    for kind, words in _KINDS.items():
        problem = problem.replace(kind, words)
    return f"{re.sub(r'[`$.]', '', place)}: {problem[0].lower()}{problem[1:]}"


def _check_landing(said: str, file: Path) -> None:
    if not begins_like_one(said):
        return
    if said.partition("://")[0] not in SCHEMES:
        raise ServerError(
            f"{file}: landing must be a folder, or a URL that begins with one of {_LANDING_URLS}"
        )
    if has_secrets(said):
        raise ServerError(
            f"{file}: landing holds what may be a secret (before @, or from ? or # on), which does not "
            "belong there: credentials are given as the tools of that store read them, such as "
            "AWS_ACCESS_KEY_ID"
        )


def _refuse_password(url: str, file: Path, name: str) -> None:
    if {"password", "sslpassword"} & conninfo_to_dict(url).keys():
        by_file = ", or let DATABASE_URL_FILE name a file with the URL" if name == "database_url" else ""
        raise ServerError(
            f"{file}: {name} holds a password, which does not belong there: set {name.upper()}{by_file}, or "
            "keep the password in ~/.pgpass"
        )
