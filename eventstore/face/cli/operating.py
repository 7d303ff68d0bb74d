"""init, url and down: the store as a whole."""

from functools import partial

import typer

from eventstore.face.cli.app import Json, app
from eventstore.face.cli.output import print_fields, print_json
from eventstore.log.schema import migrate
from eventstore.orders.domain import DOMAIN
from eventstore.server import embedded
from eventstore.server.databases import ensure_database
from eventstore.server.settings import database_url, home, landing_place, made_landing
from eventstore.server.urls import without_password


@app.command()
def init(as_json: Json = False) -> None:
    """Create or migrate the database and the landing folder; safe to run again."""
    url = database_url()
    ensure_database(url)
    before = migrate.current(url)
    migrate.upgrade(url, functions=DOMAIN.functions, say=partial(typer.echo, err=True))
    made_landing()
    result = {
        "database": without_password(url),
        "revision": migrate.current(url),
        "previous_revision": before,
        "landing": str(landing_place()),
    }
    print_json(result) if as_json else print_fields(result)


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
