"""The ``eventstore`` command line: a thin face on the Python functions."""

import sys

import psycopg

from eventstore.domain.payload import PayloadError
from eventstore.face.cli import (
    consumers,
    following,
    forensics,
    ingesting,
    operating,
    projecting,
    settings,
    writing,
)
from eventstore.face.cli.app import app
from eventstore.face.cli.output import complain
from eventstore.face.times import UnreadableTimeError
from eventstore.ingestion.files import InputFileError
from eventstore.log.errors import EventStoreError
from eventstore.server.errors import ServerError

__all__ = [
    "app",
    "consumers",
    "following",
    "forensics",
    "ingesting",
    "main",
    "operating",
    "projecting",
    "settings",
    "writing",
]


def main() -> None:
    """Run the command line; a mistake of the user is one line on standard error, never a traceback."""
    try:
        app()
    except (InputFileError, PayloadError, UnreadableTimeError) as error:
        complain(str(error))
        sys.exit(2)
    except (EventStoreError, ServerError) as error:
        complain(str(error))
        sys.exit(1)
    except psycopg.errors.InsufficientPrivilege as error:
        complain(f"the database refuses it: {error.diag.message_primary}")
        sys.exit(1)
    except psycopg.OperationalError as error:
        complain(f"the database went away: {str(error).strip()}")
        sys.exit(1)
