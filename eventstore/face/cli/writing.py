"""append and show: one order at a time."""

import sys
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from eventstore.engine.interpretations import interpretations
from eventstore.engine.standing import ahead_of_log
from eventstore.engine.state import UnknownVersionError
from eventstore.engine.state import state as state_of
from eventstore.face.cli.app import Json, OrderId, app, fail, how_old, open_store
from eventstore.face.cli.output import print_fields, print_json, warn
from eventstore.face.times import as_text, describe_time, parse_time
from eventstore.kernel.moments import moment
from eventstore.kernel.recorded import RecordedEvent, to_ms
from eventstore.log.append import append_json
from eventstore.orders.domain import DOMAIN


@app.command()
def append(
    order_id: OrderId,
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="For example OrderPaid.")],
    data: Annotated[
        str,
        typer.Argument(metavar="JSON", help="The payload, a JSON object; - reads it from standard input."),
    ],
    expected_version: Annotated[
        int | None, typer.Option(min=0, help="Append only if the order is at this version; 0: a new order.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Business time; without it the database's clock.")] = None,
    source: Annotated[str | None, typer.Option(help="The producer of the event, such as /shop.")] = None,
    source_id: Annotated[
        str | None,
        typer.Option(help="Its name there: the same event again appends nothing, and is shown as recorded."),
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help='More about it, such as {"actor": "ann"}.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Append one event to an order.

    With --source and --source-id it is safe to run again: what the order has already is not appended twice.
    """
    if (source is None) != (source_id is None):
        raise fail("an event is named by both: give --source and --source-id, or neither")
    payload = sys.stdin.buffer.read() if data == "-" else data.encode(errors="surrogateescape")
    DOMAIN.events.check(event_type, payload)
    event = {
        "type": event_type,
        "data": msgspec.json.decode(payload),
        "created_at": None if at is None else to_ms(parse_time(at)),
        "source": source,
        "source_id": source_id,
        "metadata": _metadata(metadata),
    }
    with open_store() as store, store.connection() as connection:
        (recorded,) = append_json(connection, order_id, [event], expected_version, codec=store.domain.events)
    result = {
        "order_id": recorded.order_id,
        "id": recorded.id,
        "version": recorded.version,
        "type": recorded.event_type,
        "happened_at": recorded.happened_at,
        "recorded_at": recorded.recorded_at,
    }
    print_json(result) if as_json else print_fields(result)


def _metadata(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text.encode(errors="surrogateescape"), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise fail(f"--metadata is not a JSON object: {error}") from None


@app.command()
def show(
    order_id: OrderId,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="What was true then (business time).")
    ] = None,
    known: Annotated[
        str | None, typer.Option(metavar="TIME", help="As it was known then (recorded time).")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Up to this version.")] = None,
    as_json: Json = False,
) -> None:
    """Show the state of an order: now, exact to the last append, or at a moment of its past.

    A TIME is ISO 8601 (without a zone: UTC), a date (its start) or words such as "2 days ago".
    """
    at_time, known_time = (None if text is None else parse_time(text) for text in (at, known))
    with open_store() as store:
        replica = how_old(store)
        with store.reading() as connection:
            try:
                state = state_of(connection, store.domain.states, order_id, at_time, known_time, version)
            except UnknownVersionError as error:
                raise fail(str(error)) from None
            disagreeing = interpretations(connection, store.domain)
            ahead = ahead_of_log(connection)
        if ahead:
            warn(
                f"{', '.join(ahead)} hold events that the log lacks, as after a restore: run "
                "`eventstore rebuild`; this is folded from the log itself"
            )
        if state is None:
            raise fail(_why_there_is_none(order_id, store.stream(order_id)[:version], at_time, known_time))
    moments = {
        name: as_text(time) if as_json else describe_time(time, text)
        for name, time, text in (("at", at_time, at), ("known", known_time, known))
        if time is not None and text is not None
    }
    shown = moments | msgspec.structs.asdict(state)
    if replica is not None:
        shown |= {
            "replica_complete_up_to": replica.complete_up_to,
            "replica_age_seconds": replica.age_seconds,
        }
    if as_json:
        marks = {"interpretations": [each.rules for each in disagreeing], "ahead_of_log": ahead}
        print_json(shown | {mark: value for mark, value in marks.items() if value})
        return
    print_fields(shown)
    for each in disagreeing:
        warn(f"{each.in_words}; see `eventstore status`")


def _why_there_is_none(
    order_id: UUID, events: list[RecordedEvent], at: datetime | None, known: datetime | None
) -> str:
    if not events:
        return f"order {order_id} has no events"
    if known is not None and known < events[0].recorded_at:
        first = moment(events[0].recorded_at, exact=True)
        return (
            f"order {order_id} was not known at {moment(known, exact=True)}: "
            f"its first event was recorded at {first}"
        )
    first = moment(min(e.happened_at for e in events if known is None or e.recorded_at <= known), exact=True)
    when = moment(at, exact=True) if at else "that time"
    return f"order {order_id} had no events at {when}: its first happened at {first}"
