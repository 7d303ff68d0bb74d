"""tail: the feed as CloudEvents."""

import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Annotated
from uuid import UUID

import typer

from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.output import print_json
from eventstore.face.cloudevents import as_cloudevent
from eventstore.face.store import Store
from eventstore.kernel.recorded import RecordedEvent
from eventstore.orders.order import OrderState

_POLL_SECONDS = 0.5


@app.command()
def tail(
    after: Annotated[UUID | None, typer.Option(metavar="ID", help="Start behind this event.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Stop after so many events.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more events at the end.")] = False,
    consumer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Resume where this name left off, and remember it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the log as CloudEvents, one a line, in an order that never changes."""
    if consumer is not None and after is not None:
        raise fail("a consumer resumes at its own watermark: give --consumer or --after, not both")
    with open_store() as store:
        events: Iterator[RecordedEvent]
        if consumer is None:
            events = islice(_read(store, after, follow), limit)
        else:
            events = store.subscribe(consumer, follow=follow, limit=limit)
        for event in events:
            print_json(as_cloudevent(event))
            if follow or consumer:
                sys.stdout.flush()


def _read(store: Store[OrderState], after: UUID | None, follow: bool) -> Iterator[RecordedEvent]:
    while True:
        page = store.read(after)
        yield from page
        if page:
            after = page[-1].id
        elif follow:
            time.sleep(_POLL_SECONDS)
        else:
            return
