"""Whether this machine and its database can keep a store: each thing that can be missing, with its remedy.

One thing after the other; what cannot be tried because of an earlier one is left out.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psycopg import Error

from eventstore.face.automation import read_automation
from eventstore.ingestion.files import InputFileError
from eventstore.ingestion.places import look
from eventstore.kernel.counted import counted
from eventstore.kernel.verdicts import Verdict
from eventstore.log.buckets import buckets_of, locks_lacking
from eventstore.log.connection import Connection, open_connection
from eventstore.log.errors import EventStoreError
from eventstore.log.outages import refusal
from eventstore.log.schema import log_indexes, migrate
from eventstore.orders.domain import DOMAIN
from eventstore.server import settings
from eventstore.server.errors import ServerError
from eventstore.server.urls import without_password

_HOST = "127.0.0.1"

#: What a role may do, and what asks the database whether it may.
_RIGHTS = {
    "append": "(SELECT bool_or(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc "
    "WHERE proname = 'append_events' AND pronamespace = 'public'::regnamespace)",
    "read": "has_table_privilege('public.order_events', 'SELECT')",
    "refresh": "has_table_privilege('public.projections', 'UPDATE')",
    "ingest": "has_table_privilege('public.rejects', 'INSERT')",
}
_ROLES = {
    "append": "eventstore_writer",
    "read": "eventstore_reader",
    "refresh": "eventstore_projector",
    "ingest": "eventstore_ingester",
}


def examine() -> Iterator[Verdict]:
    """Look at everything in turn. Starts the embedded PostgreSQL, as every command does; changes nothing."""
    yield (home := _home())
    try:
        settings.machine()
        given = settings.given_url()
        where = given.where if given else "the embedded PostgreSQL"
        port = settings.port()
    except ServerError as error:
        yield _bad("doctor-settings", "settings", str(error), None)
        return
    yield _good("doctor-settings", "settings", f"readable; the database comes from {where}")
    if home.level == "ok":
        yield _landing()
    if given is None and home.level != "ok":
        return
    try:
        url = settings.database_url()
        connection = open_connection(url)
    except (EventStoreError, ServerError) as error:
        yield _bad("doctor-server", "server", str(error), None)
        return
    with connection:
        version = connection.info.parameter_status("server_version") or connection.info.server_version
        yield _good("doctor-server", "server", f"PostgreSQL {version} answers at {without_password(url)}")
        try:
            yield (schema := _schema(connection))
            if schema.level == "ok":
                yield _rights(connection)
                yield from _buckets(connection)
        except Error as error:
            yield _bad("doctor-schema", "schema", refusal(error), None)
    yield _port(port, url)


def _home() -> Verdict:
    """Writable, or a folder that can be made."""
    home = settings.home()
    there = next((each for each in (home, *home.parents) if each.exists()), Path("/"))
    remedy = "set EVENTSTORE_HOME to a folder of yours"
    if not there.is_dir():
        return _bad("doctor-home", "home", f"{there} is no folder", remedy)
    if there != home:
        if os.access(there, os.W_OK | os.X_OK):
            return _good("doctor-home", "home", f"{home} will be made")
        return _bad("doctor-home", "home", f"{home} cannot be made: {there} is not writable", remedy)
    try:
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        return _bad("doctor-home", "home", f"cannot write to {home}: {error.strerror}", remedy)
    return _good("doctor-home", "home", f"{home} is writable")


def _landing() -> Verdict:
    folder = settings.landing_place()
    if isinstance(folder, str):
        return _landing_at(folder)
    if not folder.is_dir():
        return _bad("doctor-landing", "landing", f"{folder} is not there", "eventstore init")
    if not os.access(folder, os.R_OK | os.X_OK):
        return _bad("doctor-landing", "landing", f"{folder} cannot be read", f"chmod u+rx {folder}")
    return _good("doctor-landing", "landing", f"files in {folder} are read")


def _landing_at(address: str) -> Verdict:
    try:
        look(address, DOMAIN.formats)
    except InputFileError as error:
        return _bad("doctor-landing", "landing", str(error), None)
    return _good("doctor-landing", "landing", f"files at {address} are read")


def _schema(connection: Connection) -> Verdict:
    known = migrate.revisions()
    table, readable = connection.execute(
        "SELECT to_regclass('public.alembic_version'), "
        "has_table_privilege(to_regclass('public.alembic_version'), 'SELECT')"
    ).fetchone() or (None, None)
    if table and not readable:
        return _good("doctor-schema", "schema", "there; which revision it is, its owner may see")
    row = table and connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    if not row:
        return _bad("doctor-schema", "schema", "the database is not an event store yet", "eventstore init")
    (revision,) = row
    if revision not in known:
        return _bad(
            "doctor-schema",
            "schema",
            f"the database is at revision {revision}, which this release does not know",
            "install the release that upgraded it, or a later one",
        )
    if revision != known[-1]:
        return _bad(
            "doctor-schema",
            "schema",
            f"the database is at revision {revision}, this release needs {known[-1]}",
            "eventstore init",
        )
    if dropped := log_indexes.lacking(connection):
        return _bad(
            "doctor-schema",
            "schema",
            f"{counted(len(dropped), 'index of the log is', 'indexes of the log are')} missing, such as "
            f"{dropped[0]}: what comes again may be recorded again",
            "eventstore init",
        )
    return _good("doctor-schema", "schema", f"revision {revision}, as this release needs it")


def _rights(connection: Connection) -> Verdict:
    rights = ", ".join(_RIGHTS.values())
    row = connection.execute(f"SELECT {rights}".encode()).fetchone() or ()
    may = dict(zip(_RIGHTS, row, strict=True))
    role = connection.info.user
    can = [what for what, allowed in may.items() if allowed]
    cannot = [what for what, allowed in may.items() if not allowed]
    grants = "; ".join(f'GRANT {_ROLES[what]} TO "{role}"' for what in cannot)
    if not can:
        return _bad(
            "doctor-rights", "rights", f"the role {role} may do nothing here", f"as the owner: {grants}"
        )
    said = f"the role {role} may {', '.join(can)}"
    if cannot:
        return Verdict(
            code="doctor-rights",
            level="warn",
            subject="rights",
            sentence=f"{said}, but not {', '.join(cannot)}",
            next=f"where it is to: {grants}",
        )
    return _good("doctor-rights", "rights", said)


def _buckets(connection: Connection) -> Iterator[Verdict]:
    """Whether Dagster's partitions are those of the log, and the server bears so many tables."""
    number, said = buckets_of(connection), settings.buckets()
    locks = locks_lacking(connection, number)
    if number != said:
        yield Verdict(
            code="doctor-buckets",
            level="warn" if settings.given_buckets() is None else "fail",
            subject="buckets",
            sentence=f"the log has {number}, and Dagster, where `make up` does not start it, takes it to "
            f"have {said}",
            next=settings.how_to_say_buckets(number),
        )
    if locks is not None:
        yield Verdict(
            code="doctor-buckets",
            level="warn",
            subject="locks",
            sentence=locks[0],
            next="eventstore init" if settings.embedded_home() else locks[1],
        )
    if number == said and locks is None:
        yield _good("doctor-buckets", "buckets", f"{number}, as the settings say")


def _port(port: int, url: str) -> Verdict:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            if (dagster := read_automation(url, ())) and dagster.runs:
                return _good("doctor-port", "port", f"Dagster runs, at http://{_HOST}:{port}")
            return _bad(
                "doctor-port",
                "port",
                f"port {port} cannot be had: {error.strerror}",
                f"stop what listens there, or choose another: make up PORT={port + 1}",
            )
    return _good("doctor-port", "port", f"{port} is free for Dagster's pages")


def _good(code: str, subject: str, sentence: str) -> Verdict:
    return Verdict(code=code, level="ok", subject=subject, sentence=sentence)


def _bad(code: str, subject: str, sentence: str, remedy: str | None) -> Verdict:
    return Verdict(code=code, level="fail", subject=subject, sentence=sentence, next=remedy)
