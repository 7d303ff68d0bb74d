"""Parsed events into the log: COPY, then one function of the database, in one transaction."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg
from psycopg.errors import (
    DeadlockDetected,
    ProgramLimitExceeded,
    SerializationFailure,
    StatementTooComplex,
)
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from eventstore.ingestion.admission import StagedEvent
from eventstore.kernel.shown import shown
from eventstore.log.connection import Connection

#: What the database answers to an event that it does not take; the connection and the others are well.
_REFUSALS = (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded, StatementTooComplex)

#: Rows that are sent at once: few calls, each of which would let the parser take the interpreter.
_COPY_ROWS = 1000

#: Of the values in a row for COPY, these characters are escaped.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

#: Somebody else was in the way; that may be over when it is tried again.
_CONTENTION = (DeadlockDetected, SerializationFailure)


class Refused(NamedTuple):
    """A line that cannot be appended."""

    line: int
    reason: str
    detail: str


class Settled(NamedTuple):
    """What became of the lines of one transaction."""

    appended: list[int]
    duplicates: list[int]
    refused: list[Refused]


Numbered = tuple[int, StagedEvent]


def append(
    connection: Connection,
    events: Sequence[Numbered],
    refused: Sequence[Refused],
    settle: Callable[[Settled], None],
    *,
    expect_duplicates: bool = False,
) -> list[Settled]:
    """Append ``events``, each under its own number, in their order.

    ``settle`` is called at the end of each transaction to keep, in the same transaction, what became of
    its events, and of those ``refused`` before. There is one transaction, unless the database refuses an
    event, or others keep appending to the same orders: then halves are tried, and their halves.
    Whether duplicates are expected makes a difference in speed only.
    """
    try:
        return [_append(connection, events, refused, settle, expect_duplicates)]
    except (*_REFUSALS, *_CONTENTION) as error:
        if not events or (len(events) == 1 and isinstance(error, _CONTENTION)):
            raise
        if len(events) == 1:
            because = Refused(events[0][0], "refused_by_database", _message(error))
            return [_append(connection, [], [*refused, because], settle, expect_duplicates)]
    half = len(events) // 2
    return [
        *append(connection, events[:half], refused, settle, expect_duplicates=expect_duplicates),
        *append(connection, events[half:], [], settle, expect_duplicates=expect_duplicates),
    ]


@retry(
    retry=retry_if_exception_type(_CONTENTION),
    wait=wait_random_exponential(multiplier=0.05, max=1),
    stop=stop_after_attempt(10),
    reraise=True,
)
def _append(
    connection: Connection,
    events: Sequence[Numbered],
    refused: Sequence[Refused],
    settle: Callable[[Settled], None],
    expect_duplicates: bool,
) -> Settled:
    with connection.transaction(), connection.cursor() as cursor:
        outcomes: dict[int, str] = {}
        if events:
            cursor.execute("SELECT open_staging()")
            with cursor.copy(
                "COPY pg_temp.staged_events (line, order_id, event_type, event_data, created_at, "
                "source, source_id, metadata) FROM STDIN (NULL '')"
            ) as copy:
                for first in range(0, len(events), _COPY_ROWS):
                    copy.write("".join(_row(*numbered) for numbered in events[first : first + _COPY_ROWS]))
            cursor.execute("SELECT line, outcome FROM append_staged(%s)", (expect_duplicates,))
            outcomes = dict(cursor.fetchall())
        conflicts = [
            Refused(line, "identity_conflict", _conflict(event, outcomes[line]))
            for line, event in events
            if outcomes.get(line) in ("conflict", "collision")
        ]
        settled = Settled(
            appended=[line for line, _ in events if line not in outcomes],
            duplicates=[line for line, outcome in outcomes.items() if outcome == "duplicate"],
            refused=sorted([*refused, *conflicts]),
        )
        settle(settled)
    return settled


def _row(line: int, event: StagedEvent) -> str:
    """As COPY reads it. psycopg can do this for values of any types, which takes longer."""
    values = (
        str(line),
        event.order_id,
        event.event_type,
        event.data,
        "" if event.created_at is None else str(event.created_at),
        event.source,
        event.source_id,
        event.metadata,
    )
    row = "\t".join(values)
    if "\\" in row or "\n" in row or "\r" in row or row.count("\t") >= len(values):
        row = "\t".join(value.translate(_ESCAPES) for value in values)
    return row + "\n"


def _conflict(event: StagedEvent, outcome: str) -> str:
    identity = f"source {shown(event.source, 200)} and id {shown(event.source_id, 200)}"
    if outcome == "collision":
        return f"{identity} of order {event.order_id} have the same hash as those of another event"
    return f"order {event.order_id} has another event with {identity}"


def _message(error: psycopg.Error) -> str:
    diag = error.diag
    detail = None if diag.constraint_name else diag.message_detail  # of a constraint it is the whole row
    return ". ".join(part for part in (diag.message_primary, detail) if part) or str(error)
