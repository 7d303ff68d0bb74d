"""The ``eventstore`` command line: a thin face on the Python functions."""

import sys

import psycopg
import typer

from eventstore.face.cli import (
    alerting,
    backing_up,
    checking,
    consumers,
    doctor,
    following,
    history,
    ingesting,
    operating,
    orders,
    projecting,
    proving,
    quarantine,
    rebuilding,
    rejects,
    replicating,
    sealing,
    settings,
    snapshots,
    status,
    writing,
)
from eventstore.face.cli.app import app
from eventstore.face.cli.helping import arrange
from eventstore.face.cli.output import any_character, close_output, complain, give_up_output
from eventstore.face.cli.stopping import StoppedError
from eventstore.face.times import UnreadableTimeError
from eventstore.ingestion.files import InputFileError
from eventstore.kernel.codec import PayloadError
from eventstore.log.errors import EventStoreError
from eventstore.log.outages import refusal
from eventstore.server.errors import ServerError

__all__ = [
    "alerting",
    "app",
    "backing_up",
    "checking",
    "consumers",
    "doctor",
    "following",
    "history",
    "ingesting",
    "main",
    "operating",
    "orders",
    "projecting",
    "proving",
    "quarantine",
    "rebuilding",
    "rejects",
    "replicating",
    "sealing",
    "settings",
    "snapshots",
    "status",
    "writing",
]

arrange(app)

_FAILED, _MISTAKE, _INTERRUPTED = 1, 2, 130
_NOTHING_BEGAN = "stopped: nothing had begun"


def main() -> None:
    """Run the command line; a mistake or an outage is one line on standard error, never a traceback.

    Exits with 1 for an outage and what else failed, with 2 for a mistake of the user, with 130 for Ctrl-C.
    """
    any_character()
    code = _run()
    if not close_output():
        code = code or _FAILED
    sys.exit(code)


def _run() -> int:
    try:
        app()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
        if code == _INTERRUPTED:  # before the command began
            typer.echo(_NOTHING_BEGAN, err=True)
        return code
    except StoppedError as stopped:
        typer.echo(str(stopped), err=True)
        return _INTERRUPTED
    except KeyboardInterrupt:
        typer.echo(_NOTHING_BEGAN, err=True)
        return _INTERRUPTED
    except (InputFileError, PayloadError, UnreadableTimeError) as error:
        complain(str(error))
        return _MISTAKE
    except (EventStoreError, ServerError) as error:
        complain(str(error))
    except psycopg.Error as error:
        complain(refusal(error))
    except OSError as error:
        if error.filename is None:
            give_up_output(error)
        else:
            complain(f"cannot use {error.filename}: {error.strerror or error}")
    return _FAILED
