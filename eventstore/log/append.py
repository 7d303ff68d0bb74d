"""Append events to one order."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from eventstore.kernel.codec import Codec
from eventstore.kernel.events import Event
from eventstore.kernel.recorded import RecordedEvent, to_ms
from eventstore.log.connection import Connection
from eventstore.log.epochs import needs_settling, settle_epoch
from eventstore.log.errors import ConcurrencyError, InvalidEventError
from eventstore.log.rows import COLUMNS, NO_TYPES, recorded_event

_RECORD = f"SELECT {COLUMNS} FROM record_events(%s, %s, %s)"


class Fact(msgspec.Struct, frozen=True):
    """An event together with when it happened and where it comes from.

    ``at`` is business time; None lets the database stamp it. ``source`` and ``source_id`` identify the event
    at its producer: appending the same identity again is a no-op. ``details`` is what else the payload is to
    say, beside the fields of the event.
    """

    event: Event
    at: datetime | None = None
    source: str | None = None
    source_id: str | None = None
    metadata: dict[str, Any] = {}
    details: dict[str, Any] = {}


def append(
    connection: Connection,
    order_id: UUID,
    events: Iterable[Event | Fact],
    expected_version: int | None = None,
    *,
    codec: Codec,
) -> Sequence[RecordedEvent]:
    """Append ``events`` to an order, all or none, and return what stands recorded for each.

    ``expected_version`` is the version that the order must be at, 0 for a new order; None takes any.
    Takes part in the transaction that is open on ``connection``, if there is one.
    Raises ConcurrencyError or InvalidEventError; nothing was appended then.
    """
    payload = [_as_json(codec, event if isinstance(event, Fact) else Fact(event)) for event in events]
    return append_json(connection, order_id, payload, expected_version, codec=codec)


def append_json(
    connection: Connection,
    order_id: UUID,
    events: list[dict[str, Any]],
    expected_version: int | None = None,
    *,
    codec: Codec = NO_TYPES,
) -> Sequence[RecordedEvent]:
    """`append` for events that are JSON already, in the form that the SQL function takes."""
    # On its own the statement is a transaction: one round trip, where BEGIN and COMMIT would be two more.
    # Within an open one a savepoint keeps what came before it from being lost with a refused append.
    alone = connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE
    arguments = (order_id, Jsonb(events), expected_version)
    try:
        try:
            with nullcontext() if alone else connection.transaction():
                recorded = _record(connection, arguments)
        except psycopg.DatabaseError as error:
            if not (alone and needs_settling(error)):
                raise
            settle_epoch(connection)  # a replica took over
            recorded = _record(connection, arguments)
    except psycopg.DatabaseError as error:
        raise _translated(error, order_id, expected_version) from None
    return [recorded_event(row, codec) for row in recorded]


def _record(connection: Connection, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return connection.execute(_RECORD, arguments, binary=True).fetchall()  # binary: cheaper to read


def _as_json(codec: Codec, fact: Fact) -> dict[str, Any]:
    return {
        "type": fact.event.type_name(),
        "data": fact.details | codec.encode(fact.event),
        "created_at": None if fact.at is None else to_ms(fact.at),
        "source": fact.source,
        "source_id": fact.source_id,
        "metadata": codec.mark | fact.metadata,
    }


def _translated(error: psycopg.DatabaseError, order_id: UUID, expected: int | None) -> Exception:
    if error.sqlstate == "ES001" and expected is not None:
        return ConcurrencyError(order_id, expected, int(error.diag.message_detail or 0))
    refused = isinstance(error, psycopg.IntegrityError | psycopg.DataError)
    if refused or (error.sqlstate or "").startswith("54"):  # 54: too long or too deep for the server
        diag = error.diag
        return InvalidEventError(
            ". ".join(part for part in (diag.message_primary, diag.message_hint) if part)
        )
    return error
