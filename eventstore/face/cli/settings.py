"""settings: what a store is told once, for everybody."""

from typing import Annotated

import typer

from eventstore.face.cli.app import Json, app, open_store
from eventstore.face.cli.output import print_fields, print_json
from eventstore.log.settings import change_setting
from eventstore.log.settings import settings as read_settings


@app.command()
def settings(
    name: Annotated[str | None, typer.Argument(help="The setting to change.")] = None,
    value: Annotated[str | None, typer.Argument(help="Its new value, such as '10 minutes'.")] = None,
    as_json: Json = False,
) -> None:
    """List the settings of the store, or change one, as in `eventstore settings max_hold '10 minutes'`."""
    if name is not None and value is None:
        raise typer.BadParameter(f"give the new value of {name} too", param_hint="VALUE")
    with open_store() as store, store.connection() as connection:
        if name is not None and value is not None:
            change_setting(connection, name, value)
        found = read_settings(connection)
    if as_json:
        print_json({setting.name: setting.value for setting in found})
        return
    print_fields({setting.name: f"{setting.value}   {setting.description}" for setting in found})
