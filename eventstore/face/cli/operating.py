"""init, url and down: the store as a whole."""

from functools import partial
from typing import Annotated

import typer

from eventstore.face.cli.app import Json, app
from eventstore.face.cli.output import print_fields, print_json, warn
from eventstore.kernel.buckets import DEFAULT, MOST, POSSIBLE, is_possible
from eventstore.log.buckets import buckets_of
from eventstore.log.connection import open_connection
from eventstore.log.room_for_locks import make_room
from eventstore.log.schema import migrate
from eventstore.orders.domain import DOMAIN
from eventstore.server import embedded
from eventstore.server.databases import ensure_database
from eventstore.server.settings import (
    database_url,
    embedded_home,
    given_buckets,
    home,
    how_to_say_buckets,
    landing_place,
    made_landing,
)
from eventstore.server.urls import without_password


@app.command()
def init(
    buckets: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST,
            metavar="N",
            help="Split a log without events into so many buckets, a power of two. By default as the setting "
            "buckets says; without that a log keeps its number, and a new one has 16.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create or migrate the database and the landing folder; safe to run again."""
    if buckets is not None and not is_possible(buckets):
        raise typer.BadParameter(f"{buckets} cannot be: give {POSSIBLE}", param_hint="--buckets")
    said = given_buckets()
    url = database_url()
    ensure_database(url)
    before = migrate.current(url)
    wanted = said if buckets is None else buckets
    migrate.upgrade(url, functions=DOMAIN.functions, buckets=wanted, say=partial(typer.echo, err=True))
    made_landing()
    with open_connection(url) as connection:
        number = buckets_of(connection)
    lacking = make_room(url, embedded_home())
    result = {
        "database": without_password(url),
        "revision": migrate.current(url),
        "previous_revision": before,
        "buckets": number,
        "landing": str(landing_place()),
    }
    print_json(result) if as_json else print_fields(result)
    if lacking is not None:
        warn("; ".join(lacking))
    if number != (said or DEFAULT):
        warn(f"Dagster takes the log to have {said or DEFAULT} buckets: {how_to_say_buckets(number)}")


@app.command()
def url(as_json: Json = False) -> None:
    """Print the database URL, for example for psql "$(eventstore url)"."""
    where = database_url()
    print_json({"url": where}) if as_json else typer.echo(where)


@app.command()
def down(as_json: Json = False) -> None:
    """Stop the embedded PostgreSQL. The data stays."""
    stopped = embedded.stop(home())
    if as_json:
        print_json({"stopped": stopped})
    else:
        typer.echo("stopped" if stopped else f"no embedded PostgreSQL is running in {home()}")
