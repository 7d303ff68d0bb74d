"""consumers: list the named followers of the log, put one somewhere else, forget one."""

from typing import Annotated
from uuid import UUID

import msgspec
import typer

from eventstore.engine.status import consumer_status
from eventstore.face.cli.app import Json, app, fail, open_store
from eventstore.face.cli.output import in_one_line, lag, print_fields, print_json, print_rows
from eventstore.face.times import UnreadableTimeError, parse_time
from eventstore.kernel.moments import moment
from eventstore.kernel.recorded import to_ms
from eventstore.log.connection import Connection
from eventstore.log.consumers import (
    accept_epoch,
    consumer_watermark,
    delete_consumer,
    reset_watermark,
)
from eventstore.log.consumers import consumers as list_consumers
from eventstore.log.feed import BEGINNING, horizon, publish_horizon

consumers_app = typer.Typer(
    help="List the named followers of the log; put one somewhere else; forget one.",
    invoke_without_command=True,
)
app.add_typer(consumers_app, name="consumers")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The consumer.")]


@consumers_app.callback()
def show_consumers(context: typer.Context, as_json: Json = False) -> None:
    """List the consumers: whose they are, how far behind, when last seen, and which session follows now."""
    if context.invoked_subcommand is not None:
        return
    with open_store() as store, store.connection() as connection:
        found = {
            consumer.name: consumer_status(connection, consumer) for consumer in list_consumers(connection)
        }
    if as_json:
        print_json({name: msgspec.structs.asdict(consumer) for name, consumer in found.items()})
        return
    if not found:
        typer.echo("No consumer has followed the log under a name yet.")
        return
    rows = [
        (
            in_one_line(name),
            consumer.owner or "whoever saves next",
            str(consumer.watermark),
            lag(consumer),
            moment(consumer.updated_at),
            ", ".join(f"pid {pid}" for pid in consumer.followed_by) or "nobody",
        )
        for name, consumer in found.items()
    ]
    headings = ("name", "owner", "watermark", "lag", "last seen", "followed by")
    print_rows(headings, rows)


@consumers_app.command("reset")
def reset(
    name: Name,
    to: Annotated[
        str,
        typer.Option(
            metavar="ID|TIME|beginning|now",
            help="Behind which event, or behind what was recorded up to which time, it goes on.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Put a consumer somewhere else, forwards or back: it is given what was recorded after."""
    with open_store() as store, store.connection() as connection:
        before = consumer_watermark(connection, name)
        watermark = _watermark(connection, to)
        reset_watermark(connection, name, watermark)
    result = {"consumer": name, "watermark": str(watermark), "before": str(before)}
    print_json(result) if as_json else print_fields(result)


@consumers_app.command("accept")
def accept(name: Name, as_json: Json = False) -> None:
    """Let a consumer go on after the log was restored: some events come again, others may be gone."""
    with open_store() as store, store.connection() as connection:
        before = consumer_watermark(connection, name)
        position = accept_epoch(connection, name)
    result = {
        "consumer": name,
        "epoch": position.epoch,
        "watermark": str(position.id),
        "before": str(before),
    }
    print_json(result) if as_json else print_fields(result)


@consumers_app.command("delete")
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a consumer. One that follows under its name later begins at the beginning."""
    if not yes and not typer.confirm(
        f"Forget consumer {name}? Whoever follows under this name later is given every event again.", err=True
    ):
        raise fail("nothing was deleted", 1)
    with open_store() as store, store.connection() as connection:
        delete_consumer(connection, name)
    result = {"consumer": name, "deleted": True}
    print_json(result) if as_json else print_fields(result)


def _watermark(connection: Connection, to: str) -> UUID:
    """The id that ``to`` means: an id, a word, or the last that a time of recording can have."""
    if to == "beginning":
        return BEGINNING
    if to == "now":
        publish_horizon(connection)
        return horizon(connection)
    try:
        return UUID(to)
    except ValueError:
        pass
    try:
        milliseconds = to_ms(parse_time(to))
    except UnreadableTimeError:
        raise fail(f"{to!r} is not an event id, a time, beginning or now") from None
    if milliseconds < 0:
        return BEGINNING
    row = connection.execute("SELECT uuidv7_ceiling(%s)", (milliseconds,)).fetchone()
    assert row is not None
    return UUID(str(row[0]))
