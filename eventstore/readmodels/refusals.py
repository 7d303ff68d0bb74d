"""What a table refuses is found out, so that everything else is written."""

from collections.abc import Callable
from typing import TypeVar

import psycopg

from eventstore.log.connection import Connection

#: Data that does not fit, constraints, a view's check, too large for the server, a trigger that raises.
_CLASSES = ("22", "23", "44", "54", "P0")

T = TypeVar("T")


class RefusedError(Exception):
    """A row cannot even be sent."""


def refusal(error: Exception) -> str | None:
    """Why a row is refused, in the words of the database; None for an error that is not the row's fault."""
    if isinstance(error, RefusedError):
        return str(error)
    if not isinstance(error, psycopg.Error):
        return None
    if not (error.sqlstate or "").startswith(_CLASSES):
        unsent = isinstance(error, psycopg.DataError) and error.sqlstate is None
        return f"DataError: {error}" if unsent else None
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return f"{type(error).__name__}: {error.diag.message_primary}{detail}"


def write_apart(
    connection: Connection, write: Callable[[list[T]], int], items: list[T]
) -> tuple[int, list[tuple[T, str]]]:
    """``write`` the items, all at once where nothing is refused, else halving them; returns how many rows
    that were, and the items that are refused with the reason.

    Must run in a transaction. Any other error is raised, and then nothing is written.
    """
    if not items:
        return 0, []
    try:
        with connection.transaction():
            return write(items), []
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        if len(items) == 1:
            return 0, [(items[0], reason)]
    half = len(items) // 2
    rows, refused = write_apart(connection, write, items[:half])
    more_rows, more_refused = write_apart(connection, write, items[half:])
    return rows + more_rows, refused + more_refused
