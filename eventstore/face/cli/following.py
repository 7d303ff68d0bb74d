"""tail: the feed as CloudEvents."""

import time
from typing import Annotated
from uuid import UUID

import typer

from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import print_json
from eventstore.face.cloudevents import as_cloudevent

_PAGE = 1000
_POLL_SECONDS = 0.5


@app.command()
def tail(
    after: Annotated[UUID | None, typer.Option(metavar="ID", help="Start behind this event.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Stop after so many events.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more events at the end.")] = False,
    as_json: Json = False,
) -> None:
    """Print the log as CloudEvents, one a line, in an order that never changes."""
    printed = 0
    with open_store() as store:
        while limit is None or printed < limit:
            page = store.read(after, _PAGE if limit is None else min(_PAGE, limit - printed))
            for event in page:
                print_json(as_cloudevent(event))
                after = event.id
            printed += len(page)
            if not page:
                if not follow:
                    return
                time.sleep(_POLL_SECONDS)
