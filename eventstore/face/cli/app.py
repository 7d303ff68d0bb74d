"""The command-line application and what its commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from eventstore.face.cli.output import complain, note
from eventstore.face.store import Store, as_uuid, connect
from eventstore.kernel.moments import moment
from eventstore.log.errors import EventStoreError
from eventstore.log.freshness import Freshness
from eventstore.log.outages import refusal
from eventstore.server.errors import ServerError

CANNOT_TELL = 2

app = typer.Typer(
    name="eventstore",
    help="An event store for orders on PostgreSQL. DATABASE_URL names the database; without it an embedded "
    "PostgreSQL is started in EVENTSTORE_HOME (default: .eventstore).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eventstore {version('eventstore')}")
        raise typer.Exit


@app.callback()
def _about(
    wanted: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    pass


Json = Annotated[bool, typer.Option("--json", help="Print one machine-readable object on standard output.")]


Above = Annotated[
    list[UUID] | None,
    typer.Option(metavar="ID", help="An id that is known elsewhere: new ones lie above. Repeatable."),
]


def _order_id(text: str) -> UUID:
    try:
        return as_uuid(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


OrderId = Annotated[UUID, typer.Argument(parser=_order_id, metavar="ORDER_ID", help="The order, a UUID.")]


#: The store that the commands work on, with the domain of orders.
open_store = connect


def how_old(store: Store) -> Freshness | None:
    """How old the answers of a replica are; None where reads go to the primary."""
    return store.freshness() if store.read_url else None


def say_how_old(found: Freshness | None) -> None:
    """Beside the answer of a replica, on standard error. Asked for before the answer, it claims no more."""
    if found is not None and found.complete_up_to is not None:
        note(
            f"read from a replica: complete up to {moment(found.complete_up_to)}, "
            f"as the primary said {found.age_seconds:,.1f} s ago"
        )


def fail(message: str, code: int = 2) -> typer.Exit:
    """Say what was wrong; raise what this returns."""
    complain(message)
    return typer.Exit(code)


@contextmanager
def cannot_tell() -> Iterator[None]:
    """An outage proves nothing, one way or the other: exit code 2."""
    try:
        yield
    except (EventStoreError, ServerError) as error:
        raise fail(str(error), CANNOT_TELL) from None
    except psycopg.Error as error:
        raise fail(refusal(error), CANNOT_TELL) from None
    except OSError as error:
        raise fail(f"cannot use {error.filename}: {error.strerror}", CANNOT_TELL) from None
