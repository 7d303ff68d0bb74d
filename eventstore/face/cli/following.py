"""tail: the feed as CloudEvents."""

import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Annotated
from uuid import UUID

import typer

from eventstore.face.cli.app import Json, app, fail, how_old, open_store, say_how_old
from eventstore.face.cli.output import print_json
from eventstore.face.cloudevents import as_cloudevent
from eventstore.face.store import Store
from eventstore.kernel.recorded import RecordedEvent
from eventstore.log.consumers import accept_epoch
from eventstore.log.epochs import current_epoch
from eventstore.log.errors import EpochError, EventStoreError
from eventstore.log.position import START, Position
from eventstore.orders.order import OrderState

_POLL_SECONDS = 0.5


@app.command()
def tail(
    after: Annotated[
        str | None,
        typer.Option(metavar="EPOCH:ID", help="Start behind this event; its ID alone will do."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Stop after so many events.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more events at the end.")] = False,
    consumer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Resume where this name left off, and remember it.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Go on although the log was restored or a replica took over.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the log as CloudEvents, one a line, in an order that never changes."""
    if consumer is not None and after is not None:
        raise fail("a consumer resumes at its own watermark: give --consumer or --after, not both")
    start = START if after is None else _parsed(after)
    with open_store() as store:
        replica = how_old(store)
        events: Iterator[tuple[RecordedEvent, int]]
        if consumer is None:
            events = islice(_read(store, start, follow, accept), limit)
        else:
            with store.connection() as connection:
                if accept:
                    accept_epoch(connection, consumer)
                epoch = current_epoch(connection)
            events = ((event, epoch) for event in store.subscribe(consumer, follow=follow, limit=limit))
        for event, read_in in events:
            print_json(as_cloudevent(event, read_in))
            if follow or consumer:
                sys.stdout.flush()
        say_how_old(replica)


def _read(
    store: Store[OrderState], start: Position | UUID, follow: bool, accept: bool
) -> Iterator[tuple[RecordedEvent, int]]:
    if isinstance(start, UUID):  # nobody has kept the epoch: the log is believed
        with store.reading() as connection:
            start = Position(current_epoch(connection), start)
    after = start
    while True:
        try:
            events, after = store.read_page(after)
        except EpochError as ended:
            if not accept:
                raise EventStoreError(f"{ended} Here: --accept") from None
            after = ended.accepted
            continue
        yield from ((event, after.epoch) for event in events)
        if not events:
            if not follow:
                return
            time.sleep(_POLL_SECONDS)


def _parsed(text: str) -> Position | UUID:
    try:
        return Position.parse(text) if ":" in text else UUID(text)
    except ValueError:
        raise fail(f"--after: {text!r} is neither an event id nor EPOCH:ID") from None
