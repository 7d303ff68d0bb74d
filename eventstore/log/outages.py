"""Errors of the database that are nobody's mistake, as one line that says what happened and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from eventstore.kernel.addresses import without_logins
from eventstore.kernel.shown import printable
from eventstore.log.errors import BusyError, DatabaseUnavailableError, EventStoreError
from eventstore.log.waiting import who_holds

#: By SQLSTATE, or by its first two characters.
_OUTAGES = {
    "08": "the connection to the database broke: run it again when the server is well",
    "25006": "the database takes no changes: it is a standby, or default_transaction_read_only is on: "
    "connect to the primary, or reset that setting for the database and the role",
    "25P03": "the database ended the session, whose transaction was idle for too long: run it again",
    "25P04": "the database ended the session at its transaction_timeout: run it again",
    "53100": "the disk of the database is full: free space there, then run it again",
    "53200": "the database is out of memory: free some, or do what the hint says, then run it again",
    "53300": "the database has too many connections: close other sessions, or raise max_connections or the "
    "role's CONNECTION LIMIT",
    "53": "the database is out of a resource: free some, then run it again",
    "57014": "the statement was cancelled, by an administrator or a statement_timeout: run it again",
    "57P04": "the database was dropped: check DATABASE_URL",
    "57P": "the database server went away: run it again when the server is well",
    "58": "the database server has trouble with its files: see its log",
    "XX001": "the database has damaged data: see the server's log, and restore a backup",
    "XX002": "an index of the database is damaged: REINDEX it, and see the server's log",
}
#: An epoch has to begin first; a replica cannot be read yet: the functions say it themselves.
_OWN = {"ES004", "ES005"}
_CONTENTION = {"40001", "40P01"}
_LOCK_TIMEOUT = "55P03"
_CRASH = "57P02"
#: Something is not there: a schema, a table, a column, a function, or one with these arguments.
_OTHER_SCHEMA = {"3F000", "42P01", "42703", "42883"}
_ROLES = "eventstore_writer, eventstore_ingester, eventstore_reader, eventstore_projector"
_NOTHING_LOST = "what was acknowledged is recorded, of the rest nothing is"


@contextmanager
def outages_explained(url: str) -> Iterator[None]:
    """Raise errors that are outages of the database at ``url`` as errors of the store, let others pass."""
    try:
        yield
    except psycopg.Error as error:
        explained = outage(error, url)
        if explained is None:
            raise
        raise explained from error


def outage(error: psycopg.Error, url: str) -> EventStoreError | None:
    """What ``error``, of a session with the database at ``url``, means; None where it is no outage."""
    state = state_of(error)
    if state == _LOCK_TIMEOUT:
        return BusyError(_said(error) if raised_by_a_function(error) else who_holds(url))
    if state in _OWN:
        return DatabaseUnavailableError(_said(error))
    if state in _CONTENTION:
        return BusyError(f"other sessions changed the same at the same time: run it again ({_said(error)})")
    if state is None:  # the server is gone without a word, or psycopg itself complains
        state = "08" if isinstance(error, psycopg.OperationalError) else ""
    for code in (state, state[:3], state[:2]):
        if code in _OUTAGES:
            return DatabaseUnavailableError(f"{_OUTAGES[code]}; {_NOTHING_LOST} ({_said(error)})")
    return None


def refusal(error: psycopg.Error) -> str:
    """One line for any other error of the database."""
    said = _said(error)
    if error.sqlstate == "42501":
        remedy = "" if error.diag.message_hint else f": grant the role of DATABASE_URL one of {_ROLES}"
        return f"the database refuses it: {said}{remedy}"
    if error.sqlstate in _OTHER_SCHEMA:
        return f"the database is of another release ({said}): run `eventstore init` as its owner"
    return f"the database reports: {said}"


def is_outage(error: BaseException) -> bool:
    """Whether the database, and not what it was given, is the reason for ``error``."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, BusyError | DatabaseUnavailableError)
    state = state_of(error)
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    known = {_LOCK_TIMEOUT, *_OWN, *_CONTENTION, *_OUTAGES}
    return not known.isdisjoint((state, state[:3], state[:2]))


def state_of(error: psycopg.Error) -> str | None:
    """The SQLSTATE; None where the server is gone without a word.

    A session whose parallel workers go with the server may still say that they are not in the state it needs:
    that is a crash as well. Whatever its language, the file of the server's source tells it apart.
    """
    lost_a_worker = error.sqlstate == "55000" and error.diag.source_file == "parallel.c"
    return _CRASH if lost_a_worker else error.sqlstate


def raised_by_a_function(error: psycopg.Error) -> bool:
    """Whether a function of the log raised it: its own words are the best."""
    return error.diag.source_function == "exec_stmt_raise"


def _said(error: psycopg.Error) -> str:
    diag = error.diag
    parts = [diag.message_primary, diag.message_hint] if diag.message_primary else [str(error)]
    return without_logins(printable(". ".join(" ".join(part.split()) for part in parts if part)))
